import dataclasses

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, resume
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes, init_state
from biggan_jax.train_step import moving_average
from biggan_jax.types import UserError
from tests.conftest import assert_identical, fresh_state, tiny_config


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(folder, state) of a run at step 7 with random arrays."""
    config = tiny_config()
    shapes = init_shapes(build_gan(config))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda s: rng.integers(1, 100, s.shape).astype(s.dtype), shapes).replace(step=np.int32(7))
    folder = tmp_path_factory.mktemp("stored")
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(jax.tree.map(jax.numpy.asarray, state), config)
    checkpoints.close()
    return str(folder), state


@pytest.fixture(scope="module")
def fresh():
    return fresh_state(seed=3)


def started(config, folder, fresh):
    gan = build_gan(config)
    restarted = {
        name: network.replace(opt_state=gan.networks[name].optimizer.init(network.params))
        for name, network in fresh.networks.items()
    }
    fresh = fresh.replace(networks=restarted)
    return fresh, resume.replace_weights(fresh, resume.load_weights(gan, folder))


def test_networks_optimizers_and_averages_are_taken_over(config, stored, fresh):
    folder, state = stored
    fresh, ours = started(config, folder, fresh)
    assert_identical(ours.networks["G"], state.networks["G"])
    assert_identical(ours.networks["D"], state.networks["D"])
    assert_identical(ours.averages["G"], state.averages["G"])
    assert int(ours.step) == 0 and int(ours.seed) == 3


def test_an_optimizer_that_does_not_fit_starts_anew(config, stored, fresh):
    folder, state = stored
    config.optimizer.b1 = 0.5
    fresh, ours = started(config, folder, fresh)
    assert_identical(ours.networks["G"].params, state.networks["G"].params)
    assert_identical(ours.networks["G"].opt_state, fresh.networks["G"].opt_state)


def test_an_average_that_is_not_stored_starts_from_live_weights(config, stored, fresh, caplog):
    folder, state = stored
    gan = dataclasses.replace(build_gan(config), averaged=("D", "G"))
    fresh = fresh.replace(averages=fresh.averages | {"D": fresh.networks["D"].params})
    with caplog.at_level("INFO", "biggan_jax"):
        ours = resume.replace_weights(fresh, resume.load_weights(gan, folder))
    assert f"{folder} keeps no average of D: the new one starts from its live weights" in caplog.text
    assert_identical(ours.averages["D"], state.networks["D"].params)
    assert_identical(ours.averages["G"], state.averages["G"])


OTHER = {"resolution": 32, "num_classes": 3, "dim_z": 16}


def test_layers_that_fit_other_images_and_classes_are_copied(config, stored, caplog):
    folder, state = stored
    config.model.update(OTHER)
    gan = build_gan(config)
    shapes = jax.eval_shape(lambda: init_state(gan, 3))
    fresh = jax.tree.map(lambda s: jax.numpy.full(s.shape, -1, s.dtype), shapes)
    with caplog.at_level("INFO", "biggan_jax"):
        ours = resume.replace_weights(fresh, resume.load_weights(gan, folder))
    old, new = state.networks["G"], ours.networks["G"]
    for tree, before in ((new.params, old.params), (ours.averages["G"], state.averages["G"])):
        assert_identical(tree["block_1"], before["block_1"])
        assert_identical(tree["conv_out"], before["conv_out"])
        assert (np.asarray(tree["shared"]["embedding"]) == -1).all() and (
            jax.tree.leaves(tree["block_2"])[0] == -1
        ).all()
    for follows in ("variables", "spectral"):
        (name, tree), *_ = getattr(new, follows).items()
        assert_identical(tree["block_1"], getattr(old, follows)[name]["block_1"])
        assert all((leaf == -1).all() for leaf in jax.tree.leaves(tree["block_2"]))
    assert_identical(ours.networks["D"].params["linear"], state.networks["D"].params["linear"])
    for network in ours.networks.values():
        assert all((leaf == -1).all() for leaf in jax.tree.leaves(network.opt_state)), "optimizer states are new"
    assert f"starting from layers of {folder}, step 7; optimizer states are new" in caplog.text
    assert "G.shared: new: embedding [3, 8] is [10, 8] there" in caplog.text
    assert "G.block_2.conv_1: new: no counterpart there" in caplog.text and "weights are copied" in caplog.text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"freeze_d": 1},
            r"freeze_d keeps blocks as they are, but D's layer block_0.conv_1 is not in .* in this shape",
        ),
        ({"model.family": "biggan_deep"}, "has another kind of G; start from a run of the same model.family"),
        ({"model.ch": 5, "model.shared_dim": 3}, "no layer of .* fits; choose model.ch or widths"),
    ],
)
def test_a_transfer_without_what_it_needs_is_refused(config, stored, changes, sentence):
    config.model.update(OTHER)
    config.init_from = stored[0]
    config.model.g_attention = config.model.d_attention = ()
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=sentence):
        resume.load_weights(build_gan(config), stored[0])


def test_an_average_that_no_network_has_here_is_dropped(config, stored, fresh):
    gan = dataclasses.replace(build_gan(config), averaged=())
    assert resume.replace_weights(fresh.replace(averages={}), resume.load_weights(gan, stored[0])).averages == {}


def test_the_average_continues_from_the_loaded_one():
    import runpy

    from biggan_jax.config import config_path

    get_config = runpy.run_path(str(config_path("finetune")))["get_config"]
    c = tiny_config()
    c.ema.start = 20_000
    get_config.__globals__["of_run"] = lambda workdir: c.copy_and_resolve_references()
    gan = dataclasses.replace(build_gan(get_config("anywhere")), ema_decay=0.9)
    average = moving_average(gan, np.int32(0), {"w": np.float32(10)}, {"w": np.float32(0)})
    assert float(average["w"]) == pytest.approx(9)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ch": 8}, "in this config .*; use the networks of that run with --config=finetune:DIR"),
        ({"spectral_eval": "stored"}, "is missing, in this config"),
    ],
)
def test_other_networks_are_refused_with_a_remedy(config, stored, changes, sentence):
    config.model.update(changes)
    with pytest.raises(UserError, match=sentence):
        resume.load_weights(build_gan(config), stored[0])
