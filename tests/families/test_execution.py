"""Loops, chunks and rematerialisation change how a step is computed, not its result."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biggan_jax import config as configs
from biggan_jax.models import adversarial
from biggan_jax.state import init_state
from tests.conftest import leaves, update, with_optimizers
from tests.families.minimal import SHAPE, pair
from tests.variants import further_slow

R1 = (("r1", 0.1),)


def section():
    keys = {"image_shape": SHAPE, "num_classes": 5, "dim_z": 4, "init": "normal"}
    return keys | {"g_spectral_norm": True, "d_spectral_norm": True}


@pytest.fixture(scope="module")
def results():
    """results(fields of a GAN as pairs): networks and metrics after an update of D and one of G. G has batch norm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "small", section)
        config = configs.base("small")
    plain = with_optimizers(pair(config, None, g={"batch_norm": True}), G=optax.sgd(1.0), D=optax.sgd(1.0))
    state = jax.jit(lambda: init_state(plain, 0))()
    data = plain.draw(jax.random.key(1), 16) | {
        "image": jax.random.uniform(jax.random.key(2), (16, *SHAPE), minval=-1),
        "label": jnp.arange(16) % 5,
    }

    @functools.cache
    def run(fields):
        gan = dataclasses.replace(plain, **dict(fields))

        @jax.jit
        def both(state):
            after, d_metrics = update(gan, state, "D", data, jax.random.key(0))
            after, g_metrics = update(gan, after, "G", data, jax.random.key(0))
            return after.networks, d_metrics | g_metrics

        return leaves(both(state))

    return lambda **fields: run(tuple(fields.items()))


@pytest.mark.parametrize(
    ("one", "other"),
    further_slow(
        [
            ({"microbatches": 2}, {"microbatches": 2, "loops": True}),
            ({}, {"d_chunks": 4}),
            ({}, {"d_chunks": 4, "loops": True}),
            ({"d_ortho": 0.1, "g_ortho": 0.1}, {"d_ortho": 0.1, "g_ortho": 0.1, "d_chunks": 2}),
            ({"microbatches": 2, "terms": R1}, {"microbatches": 2, "terms": R1, "remat": True}),
            ({"microbatches": 2, "terms": R1}, {"microbatches": 2, "terms": R1, "remat": True, "d_chunks": 2}),
        ],
        quick=(0, 2, 5),
    ),
    ids=lambda fields: " ".join(f"{name}={value}" for name, value in fields.items()) or "plain",
)
def test_execution_does_not_change_an_update(results, one, other):
    a, b = results(**one), results(**other)
    assert a.keys() == b.keys()
    for name in a:
        if "faults" not in name and not name.endswith("G.params.hidden.bias"):  # Before batch norm: rounding alone.
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_microbatches_change_what_batch_norm_sees(results):
    whole, parts = results(), results(microbatches=2)
    moved = [np.abs(whole[name] - parts[name]).max() for name in whole if "norm.mean" in name or "norm.var" in name]
    assert max(moved) > 1e-4


class FreeImages(nn.Module):
    """G whose weights are its images: their gradient is D's."""

    @nn.compact
    def __call__(self, z, y=None, *, train=False):
        return self.param("images", nn.initializers.zeros, (16, *SHAPE))[: len(z)]


class Dropping(nn.Module):
    """A linear D that drops half of the values."""

    @nn.compact
    def __call__(self, x, y=None, *, train=False):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(x.reshape(len(x), -1)))[:, 0]


@pytest.mark.parametrize("loops", [False, True])
def test_each_chunk_draws_its_own_dropout(loops):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "small", section)
        config = configs.base("small")
    config.model.g_spectral_norm = config.model.d_spectral_norm = False
    gan = adversarial.build(config, None, FreeImages(), Dropping(), image_shape=SHAPE)
    gan = dataclasses.replace(with_optimizers(gan, G=optax.sgd(1.0)), d_chunks=4, loops=loops)
    state = init_state(gan, 0)
    after, _ = jax.jit(lambda: update(gan, state, "G", gan.draw(jax.random.key(1), 16), jax.random.key(0)))()
    kept = np.asarray(after.networks["G"].params["images"]).reshape(16, -1) != 0
    assert 0.45 < kept.mean() < 0.55
    first, second = kept[::2], kept[1::2]  # The two chunks of G's update.
    assert abs((first == second).mean() - 0.5) < 0.05
