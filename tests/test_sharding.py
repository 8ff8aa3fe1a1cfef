import dataclasses
import functools
import re

import jax
import numpy as np
import pytest

from biggan_jax import augment, sharding
from biggan_jax.partitioning import compile_step, state_layout
from biggan_jax.types import UserError
from tests.conftest import (
    biases_that_feed_only_batch_norm,
    build,
    fresh_state,
    leaves,
    random_batch,
    tiny_config,
    with_attention,
)

STEPS = 3

ONE, DATA, REPLICATED, CHUNKS = "one device", "8 data", "8 data, update on each", "2 x 2, D in a loop over chunks"
MESHES = {
    ONE: dict(count=1),
    DATA: dict(count=8),
    REPLICATED: dict(count=8, shard_update=False),
    "4 x 2": dict(count=8, fsdp=2),
    CHUNKS: dict(count=4, fsdp=2, shard_update=False, d_chunks=4, loops=True),
}


def run(config, state, count, fsdp=1, **changes):
    """Return (state after STEPS steps, metrics of each, compiled step), from `state` on a mesh of `count` devices."""
    mesh = sharding.make_mesh(jax.devices()[:count], fsdp=fsdp)
    gan = dataclasses.replace(build(config, mesh), **changes)
    state = jax.device_put(jax.tree.map(np.asarray, state), state_layout(gan))
    batches = [sharding.shard_batch(random_batch(gan, seed=i), mesh) for i in range(STEPS)]
    compiled = compile_step(gan).lower(state, batches[0]).compile()
    history = []
    for batch in batches:
        state, metrics = compiled(state, batch)
        history.append({name: float(value) for name, value in metrics.items() if not name.endswith("_faults")})
    return state, history, compiled


@functools.cache
def trained_on(family, mesh):
    """Return (config, result of `run` on that mesh), compiled once for all tests."""
    config = config_of(family)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "MIN_SHARDED_SIZE", 64)  # Shards these small weights, too.
        return config, run(config, with_attention(fresh_state(family)), **MESHES[mesh])


def config_of(family):
    config = tiny_config(family)
    config.d_steps = 2 if family == "dense" else 1
    return config


# Dense networks on every mesh, and BigGAN's layers on one. BigGAN on the others takes XLA minutes.
MESHED = [(family, mesh) for family in ("dense", "biggan", "biggan_deep") for mesh in MESHES if mesh != ONE]
QUICK = [case for case in MESHED if case[0] == "dense" or case == ("biggan", DATA)]
on_meshes = pytest.mark.parametrize(
    ("family", "mesh"), [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in MESHED]
)


@on_meshes
def test_one_device_and_any_mesh_train_the_same(family, mesh):
    config, (one, one_metrics, _) = trained_on(family, ONE)
    _, (many, many_metrics, _) = trained_on(family, mesh)
    for a, b in zip(one_metrics, many_metrics, strict=True):
        for name in a:
            # Means over another split of the batch differ by float32 rounding of values of order one. A gradient norm is the
            # root of a sum over all weights, in which the rounding of earlier steps adds up.
            assert a[name] == pytest.approx(b[name], rel=2e-3 if name.endswith("grad_norm") else 1e-4, abs=1e-4), name
    assert_same_training(config, one, many)


def assert_same_training(config, one, many):
    """Assert that D, G, average, statistics and u after STEPS steps differ by float32 rounding only."""
    rates = {"G": config.optimizer.g_lr, "D": config.optimizer.d_lr}
    updates = {"G": STEPS, "D": STEPS * config.d_steps}
    pairs = [(network, one.networks[network].params, many.networks[network].params) for network in rates]
    for network, a, b in [*pairs, ("G", one.averages["G"], many.averages["G"])]:
        a, b = leaves(a), leaves(b)
        for name in a:
            difference = np.abs(a[name] - b[name])
            # Adam divides a gradient by its own size, so that pure rounding moves a weight by up to lr either way.
            assert difference.max() <= 2 * rates[network] * updates[network], name
            if network == "D" or name not in biases_that_feed_only_batch_norm(config.model.family):
                assert difference.mean() <= 2e-6, name
    for network in rates:
        a, b = leaves(one.networks[network].stats), leaves(many.networks[network].stats)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-3, err_msg=name)


@on_meshes
def test_the_flops_are_divided_by_the_devices(family, mesh):
    if mesh == CHUNKS:
        pytest.skip("cost_analysis counts a loop's body once")
    if family == "dense":
        pytest.skip("spectral norm, which every device does, is a large part of this work")
    one, many = (trained_on(family, name)[1][2].cost_analysis()["flops"] for name in (ONE, mesh))
    assert many <= 1.1 * one / MESHES[mesh]["count"]


@on_meshes
def test_collectives_are_sums_and_gathers_only(family, mesh):
    text = trained_on(family, mesh)[1][2].as_text()
    calls = re.findall(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(", text)
    allowed = {"all-reduce"} if mesh == REPLICATED else {"all-reduce", "all-gather", "reduce-scatter"}
    assert set(calls) <= allowed and "all-reduce" in calls
    assert mesh == REPLICATED or "all-gather" in calls


@pytest.mark.parametrize(
    ("family", "mesh", "path", "parts"),
    [("biggan", DATA, ("block_0", "conv_2", "kernel"), 8), ("dense", CHUNKS, ("linear", "kernel"), 2)],
)
def test_weights_moments_and_average_are_sharded(family, mesh, path, parts):
    _, (state, *_) = trained_on(family, mesh)
    for tree in (state.networks["G"].params, state.networks["G"].opt_state[0].nu, state.averages["G"]):
        kernel = functools.reduce(lambda tree, name: tree[name], path, tree)
        assert kernel.addressable_shards[0].data.size * parts == kernel.size
    assert all(u.sharding.is_fully_replicated for u in jax.tree.leaves(state.networks["G"].stats))


def test_each_device_holds_its_part_of_the_batch():
    mesh = sharding.make_mesh()
    batch = sharding.shard_batch({"label": np.arange(32, dtype=np.int32).reshape(2, 16)}, mesh)
    parts = [np.asarray(shard.data) for shard in batch["label"].addressable_shards]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), np.arange(32).reshape(2, 16))
    assert {part.shape for part in parts} == {(2, 2)}


@pytest.mark.parametrize(("size", "nearest"), [(100, "nearest are 96 and 104"), (3, "nearest is 8")])
def test_an_indivisible_batch_is_refused_with_nearest_sizes(size, nearest):
    with pytest.raises(UserError, match=f"batch_size {size} is not divisible by 8 devices; {nearest}"):
        sharding.check_batch_size(size, 8)


def test_a_batch_is_divided_by_devices_microbatches_and_chunks():
    sharding.check_batch_size(16, 2, 2, 4)
    with pytest.raises(
        UserError, match="12 is not divisible by 2 devices times 2 microbatches times 2 chunks; nearest"
    ):
        sharding.check_batch_size(12, 2, 2, 2)


# All groups take 14 s to compile.
@pytest.mark.parametrize("groups", [("geometry",), pytest.param(augment.GROUPS, marks=pytest.mark.slow)], ids=len)
def test_augmentation_and_its_probability_are_those_of_one_device(groups):
    config = config_of("dense")
    config.d_steps = 1
    p = augment.Probability(0.5, target=0.6, speed=100, every=16)
    fields = {"ada": augment.Ada(tuple((group, 1.0) for group in groups)), "apa": True, "augment_p": p}
    state = fresh_state("dense").replace(extra={augment.STATE: p.initial()})
    (one, one_metrics, alone), (many, many_metrics, compiled) = (
        run(config, state, count, **fields) for count in (1, 8)
    )
    assert [metrics["augment_p"] for metrics in one_metrics] == [metrics["augment_p"] for metrics in many_metrics]
    assert len({metrics["augment_p"] for metrics in one_metrics}) > 1
    assert_same_training(config, one, many)
    # Each device augments its part of the batch: the whole is nowhere gathered.
    assert not re.findall(r"f32\[(?:16|32),\d+,\d+,3\]\S* all-gather", compiled.as_text())
    assert compiled.cost_analysis()["flops"] < alone.cost_analysis()["flops"] / 4
