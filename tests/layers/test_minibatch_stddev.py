"""Minibatch standard deviation, against numpy and on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.layers.minibatch_stddev import minibatch_stddev

deviation = jax.jit(minibatch_stddev, static_argnums=(1, 2))
X = np.random.default_rng(0).standard_normal((8, 3, 5, 6)).astype(np.float32)


def expected(x, group, features):
    maps = np.zeros((*x.shape[:3], features), np.float32)
    for first in range(0, len(x), group):
        part = x[first : first + group]
        spread = np.sqrt(part.var(axis=0) + 1e-8)
        for f, channels in enumerate(np.split(spread, features, axis=-1)):
            maps[first : first + group, ..., f] = channels.mean()
    return np.concatenate([x, maps], axis=-1)


@pytest.mark.parametrize(("group", "features"), [(4, 1), (2, 3), (8, 2), (1, 1)])
def test_it_is_the_deviation_of_consecutive_images(group, features):
    np.testing.assert_allclose(deviation(X, group, features), expected(X, group, features), rtol=1e-5)


@pytest.mark.parametrize("group", [0, 9, 32])
def test_a_group_is_at_most_the_batch(group):
    np.testing.assert_array_equal(deviation(X, group), deviation(X, 8))


def test_equal_images_give_the_root_of_eps():
    maps = deviation(np.repeat(X[:1], 4, axis=0), 4)[..., -1]
    np.testing.assert_allclose(maps, 1e-4, rtol=1e-4)


def test_a_batch_that_groups_do_not_fill_is_an_error():
    with pytest.raises(ValueError, match="8 images cannot be split in groups of 3"):
        minibatch_stddev(X, 3)


def test_the_deviation_is_float32_and_the_result_of_its_inputs_type():
    x = jnp.asarray(X, jnp.bfloat16)
    y = deviation(x, 4)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(y)[..., -1], expected(np.float32(x), 4, 1)[..., -1], rtol=5e-3)


@pytest.mark.parametrize("group", [1, 4])
def test_it_does_not_depend_on_the_mesh(group):
    mesh = sharding.make_mesh()
    x = jax.device_put(X, sharding.batch_sharding(mesh))
    np.testing.assert_allclose(deviation(x, group), deviation(X, group), rtol=1e-6)
