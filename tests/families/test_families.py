"""Every minimal family trains, resumes bit-exactly, gives equal results on 1 and 8 devices, and samples."""

import functools

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from biggan_jax import config as configs
from biggan_jax import models, sample, sharding
from biggan_jax.checkpoint import Checkpoints, load_arrays, load_generator, load_state
from biggan_jax.family import Update
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, state_layout
from biggan_jax.runtime import jsonl
from biggan_jax.state import init_shapes, init_state
from biggan_jax.train import train
from biggan_jax.train_step import check_prefixes
from biggan_jax.types import UserError
from tests.conftest import assert_identical, leaves, random_batch, reused
from tests.families.minimal import FAMILIES, pair, section

STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Register the families as the package registers its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, (build, keys) in FAMILIES.items():
            patch.setitem(models.FAMILIES, name, build)
            patch.setitem(configs.SECTIONS, name, keys)
        yield


def config_of(family, steps=STEPS):
    c = configs.base(family)
    c.batch_size, c.num_steps = 16, steps
    c.d_steps = 2 if family == "own_state" else 1  # Each is compiled.
    c.data.name, c.data.flip = "fake", False
    c.log_every = c.checkpoint_every = c.stability.every = 1
    c.sample_every = STEPS
    c.stability.on_collapse = "ignore"  # Images of two numbers are always similar.
    c.optimizer.g_lr = c.optimizer.d_lr = 1e-2
    return c


QUICK = "batch_norm_in_d", "lazy_penalty", "own_state", "two_pairs"


# Compiling takes 10 s a family; the others are in `make test-families`.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.families) for name in FAMILIES],
)
def trained(request, tmp_path_factory, programs):
    """(family, folder of a run of 3 steps, folder of one that was stopped after 2 and resumed)."""
    one, two = (tmp_path_factory.mktemp(request.param) for _ in range(2))
    with reused(programs):
        assert train(config_of(request.param), one)
        for steps in (2, 3):
            c = config_of(request.param, steps)
            c.stability.every = c.sample_every = 0  # The first run has had probes and samples.
            assert train(c, two)
    return request.param, one, two


def test_every_network_moves_and_stays_finite(trained, programs):
    _, folder, _ = trained
    after, config, _ = load_state(folder)
    build, _, init = programs
    before = init(build(config, sharding.make_mesh()), config.seed)
    for name, network in after.networks.items():
        old, new = leaves(before.networks[name].params), leaves(network.params)
        assert all(np.isfinite(value).all() for value in new.values())
        moved = [not np.array_equal(old[path], new[path]) for path in old]
        assert np.mean(moved) > 0.7, (name, "a bias before batch norm has no gradient, all else has")


def test_a_resumed_run_is_bitwise_identical(trained):
    _, one, two = trained
    a, b = load_arrays(one), load_arrays(two)
    assert a.keys() == b.keys()
    assert not [name for name in a if a[name].tobytes() != b[name].tobytes()]


def test_one_and_eight_devices_compute_the_same(trained, programs):
    family, *_ = trained
    states = [steps_on(family, count, programs) for count in (1, 8)]
    one, eight = (leaves(state) for state in states)
    for name in one:
        # The true gradient of a bias before batch norm is zero; Adam turns its rounding errors into steps of up to lr.
        rounding = family.startswith("batch_norm") and ("hidden.bias" in name or "norm.mean" in name)
        tolerance = 2e-2 * 3 * STEPS if rounding else 1e-3
        np.testing.assert_allclose(one[name], eight[name], atol=tolerance, rtol=1e-3, err_msg=name)


def steps_on(family, devices, programs):
    """Return the state after 3 steps on that number of devices."""
    build, compile_, init = programs
    mesh = sharding.make_mesh(jax.devices()[:devices])
    gan = build(config_of(family), mesh)
    state, step = init(gan, 0), compile_(gan)
    for seed in range(STEPS):
        batch = random_batch(gan, 16, seed)
        if len(gan.image_shape) == 1:
            batch["image"] = batch["image"].astype(np.float32) / 255
        state, _ = step(state, sharding.shard_batch(batch, mesh))
    return state


def test_groups_of_a_batch_do_not_cross_devices():
    """Two examples a device, in groups of two: the step on 8 devices moves no activations between them."""
    mesh = sharding.make_mesh()
    gan = build_gan(config_of("statistics_of_groups"), mesh)
    state = init_shapes(gan)
    batch = sharding.shard_batch(random_batch(gan, 16), mesh)
    text = compile_step(gan).lower(sharding.with_sharding(state, state_layout(gan)), batch).compile().as_text()
    assert "all-reduce" in text and "all-to-all" not in text and "collective-permute" not in text


def test_samples_are_drawn_by_the_command(trained, tmp_path):
    family, folder, _ = trained
    with flagsaver.flagsaver():
        flags.FLAGS(["biggan-sample", f"--checkpoint={folder}", f"--out={tmp_path / 'samples.npz'}", "--passes=2"])
        sample.main()
    images = np.load(tmp_path / "samples.npz")["arr_0"]
    gan = build_gan(config_of(family))
    assert images.shape == (8 * max(gan.num_classes, 1), *gan.image_shape)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) > 1


def test_state_of_its_own_is_in_the_checkpoint(tmp_path, programs):
    c = config_of("own_state")
    c.stability.every = c.sample_every = 0
    with reused(programs):
        assert train(c, tmp_path)
    assert load_arrays(tmp_path)["extra.anchor"] != 0


def test_without_an_average_the_live_weights_are_sampled(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(models.FAMILIES, "no_average", functools.partial(pair, averaged=()))
    monkeypatch.setitem(configs.SECTIONS, "no_average", section())
    c = config_of("no_average")
    state = jax.jit(lambda: init_state(build_gan(c), 0))()
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state, c)
    checkpoints.close()
    caplog.set_level("INFO", "biggan_jax")
    trained = load_generator(tmp_path)
    assert trained.live and "no average of G is kept; its live weights are used" in caplog.text
    assert_identical(trained.params, state.networks["G"].params)
    assert_identical(load_state(tmp_path)[0], state)


def test_updates_of_different_networks_need_different_prefixes():
    loss = lambda nets, batch, key: (0.0, {})
    check_prefixes((Update(("D",), loss), Update(("D",), loss), Update(("G",), loss)))
    with pytest.raises(UserError, match="two updates have the prefix 'd', of D and E; give each its own Update.name"):
        check_prefixes((Update(("D",), loss), Update(("E",), loss, "d")))


def test_a_lazy_update_runs_in_every_fourth_step_alone(programs):
    build, compile_, init = programs
    mesh = sharding.make_mesh(jax.devices()[:1])
    gan = build(config_of("lazy_penalty"), mesh)
    state, step, seen = init(gan, 0), compile_(gan), []
    for seed in range(5):
        state, metrics = step(state, sharding.shard_batch(random_batch(gan, 16, seed), mesh))
        seen.append(bool(np.isfinite(metrics["gp_loss"])))
        assert not np.any(metrics["gp_faults"])
    assert seen == [True, False, False, False, True]


def test_a_lazy_penalty_is_logged_though_not_of_the_logged_step(tmp_path, programs):
    c = config_of("lazy_penalty", 2)
    c.log_every, c.stability.every, c.sample_every = 2, 0, 0
    with reused(programs):
        assert train(c, tmp_path)
    (line,) = jsonl.read(tmp_path, "metrics")
    assert line["step"] == 2 and line["gp_loss"] > 0, "it ran in the first step"


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("batch_norm_in_d", "D has statistics of its batch .batch_stats."),
        ("two_outputs", "the loss is not a mean over images that d_chunks knows of"),
        ("statistics_of_groups", "D compares the images of its batch"),
        ("loss_of_pairs", "the loss is not a mean over images that d_chunks knows of"),
    ],
)
def test_chunks_are_refused_where_they_are_not_the_batch(family, why):
    c = config_of(family)
    c.d_chunks = 2
    with pytest.raises(UserError, match=f"d_chunks=2: {why}.*; use d_chunks=1"):
        build_gan(c)


def test_a_family_defined_elsewhere_refuses_unknown_keys():
    with pytest.raises(UserError, match="model.dim_zz.*did you mean model.dim_z"):
        configs.from_plain({"model": {"family": "vectors", "dim_zz": 3}}, "the config")
