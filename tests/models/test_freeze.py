import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biggan_jax.config import base
from biggan_jax.config.keys import AUTO
from biggan_jax.models import build_gan
from biggan_jax.models.freeze import blocks
from biggan_jax.state import NetworkState
from biggan_jax.types import UserError
from tests.conftest import tiny_config


def gan(family, **changes):
    c = base(family)
    c.init_from = "runs/before"
    c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return build_gan(c)


@pytest.mark.parametrize(
    ("family", "changes", "found"),
    [
        ("sagan", {}, [["block_0"], ["block_1", "attention_1"]]),
        ("biggan_deep", {"model__ch": 8}, [["conv_in", "block_0_0", "block_0_1", "attention_0"]]),
        ("dcgan", {}, [["conv_0"], ["conv_1", "bn_1"]]),
        ("gan", {}, [["maxout_1"], ["maxout_2"]]),
        ("cgan", {"model__num_classes": 3}, [["maxout_x"], ["maxout_y"], ["maxout_both"]]),
    ],
)
def test_blocks_of_d_are_those_of_a_number_in_order(family, changes, found):
    all_ = blocks(gan(family, **changes).networks["D"])
    assert all_[: len(found)] == found
    assert not {"linear", "embed"} & {name for block in all_ for name in block}


def test_frozen_blocks_of_d_do_not_change():
    network = gan("gan", freeze_d=1, model__hidden=4, model__units=4).networks["D"]
    params = jax.jit(network.module.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))["params"]

    @jax.jit
    def moved(params):
        before = NetworkState(params, {}, {}, network.optimizer.init(params))
        return before.moved_by(network, jax.tree.map(jnp.ones_like, params), jnp.int32(0))

    after = moved(params)
    jax.tree.map(np.testing.assert_array_equal, after.params["maxout_1"], params["maxout_1"])
    assert all(optax.tree.norm(after.params[name]) != optax.tree.norm(params[name]) for name in ("maxout_2", "linear"))
    assert not gan("gan").networks["D"].frozen


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"freeze_d": 3}, "freeze_d=3: D has 2 blocks besides its head"),
        ({"freeze_d": 1, "init_from": ""}, "freeze_d=1 needs init_from"),
    ],
)
def test_freezing_what_is_not_there_is_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        gan("gan", **changes)


def test_an_automatic_r1_is_that_of_the_resolution_and_batch():
    c = tiny_config()
    c.regularizer.r1 = AUTO
    assert build_gan(c).terms == (("r1", pytest.approx(0.0002 * 16 * 16 / 16)),)
    assert c.regularizer.r1 == AUTO
