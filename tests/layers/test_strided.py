"""Convolutions of stride 2 by phases equal the plain ones, and flax's."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from biggan_jax.layers import strided


@pytest.mark.parametrize("dims", [2, 3])
def test_phases_and_the_plain_form_are_flaxs_convolutions(dims):
    x = jax.random.normal(jax.random.key(0), (2, *(2, 4, 6)[:dims], 3))
    kernel = jax.random.normal(jax.random.key(1), (*(4,) * dims, 3, 2))
    arrays = {"params": {"kernel": kernel}}
    down = nn.Conv(2, (4,) * dims, (2,) * dims, padding=1, use_bias=False).apply(arrays, x)
    up = nn.ConvTranspose(2, (4,) * dims, (2,) * dims, use_bias=False).apply(arrays, x)
    for phases in (False, True):
        np.testing.assert_allclose(strided.halve(x, kernel, phases=phases), down, atol=2e-5)
        np.testing.assert_allclose(strided.double(x, kernel, phases=phases), up, atol=2e-5)


def test_a_pixel_becomes_a_block_with_one_bias_a_channel():
    layer, x = strided.Expand(2, (2, 3), nn.initializers.normal(1.0)), jax.random.normal(jax.random.key(0), (4, 5))
    params = layer.init(jax.random.key(1), x)["params"]
    assert params["kernel"].shape == (2, 3, 5, 2) and params["bias"].shape == (2,)
    out = layer.apply({"params": params | {"bias": np.array([1.0, 2.0])}}, x)
    np.testing.assert_allclose(out[:, 1, 2], x @ params["kernel"][1, 2] + np.array([1.0, 2.0]), atol=1e-5)
