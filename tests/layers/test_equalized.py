"""Layers with equalized learning rate: statistics at first, multipliers, and fused resampling."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers.equalized import EqualizedConv, EqualizedDense
from biggan_jax.layers.norm import pixel_norm
from biggan_jax.layers.resample import average_pool, upsample

RNG = np.random.default_rng(0)


def test_dense_outputs_have_the_gain_as_deviation():
    x = RNG.standard_normal((64, 256)).astype(np.float32)
    layer = EqualizedDense(512, gain=2**0.5, lr_multiplier=0.01)
    variables = layer.init(jax.random.key(0), x)
    assert np.std(variables["params"]["kernel"]) == pytest.approx(100, rel=0.02)
    assert np.std(layer.apply(variables, x)) == pytest.approx(2**0.5, rel=0.02)


def test_dense_is_scaled_weights_and_bias():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    kernel, bias = RNG.standard_normal((4, 5)).astype(np.float32), RNG.standard_normal(5).astype(np.float32)
    layer = EqualizedDense(5, gain=3.0, lr_multiplier=0.5, bias_multiplier=0.25)
    y = layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    np.testing.assert_allclose(y, x @ kernel * (3 * 0.5 / 2) + 0.25 * bias, rtol=1e-5)


@pytest.mark.parametrize(("options", "used"), [({}, 3.0), ({"lr_multiplier": 0.5}, 1.5), ({"bias_multiplier": 2}, 6.0)])
def test_the_initial_bias_is_multiplied(options, used):
    layer = EqualizedDense(2, bias_init=3.0, **options)
    variables = layer.init(jax.random.key(0), np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(variables["params"]["bias"], [3, 3])
    np.testing.assert_allclose(layer.apply(variables, jnp.zeros((1, 4), np.float32)), [[used, used]])


def test_a_layer_without_bias_has_only_a_kernel():
    layer = EqualizedConv(2, use_bias=False)
    assert layer.init(jax.random.key(0), np.zeros((1, 4, 4, 3), np.float32))["params"].keys() == {"kernel"}


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("resample", ["", "up", "down"])
def test_a_convolution_is_that_of_scaled_weights(resample, size):
    x = RNG.standard_normal((2, size, size, 3)).astype(np.float32)
    layer = EqualizedConv(4, gain=2.0, resample=resample)
    variables = layer.init(jax.random.key(0), x)
    scaled = {"kernel": variables["params"]["kernel"] * (2 / 27**0.5), "bias": variables["params"]["bias"]}
    before, after = {"up": (upsample, None), "down": (None, average_pool), "": (None, None)}[resample]
    y = nn.Conv(4, (3, 3)).apply({"params": scaled}, before(x) if before else x)
    found = jax.jit(layer.apply)(variables, x)
    np.testing.assert_allclose(found, after(y) if after else y, atol=3e-5)


def test_products_are_in_the_type_of_the_inputs():
    x = jnp.zeros((1, 4, 4, 3), jnp.bfloat16)
    layer = EqualizedConv(4)
    variables = layer.init(jax.random.key(0), x)
    assert layer.apply(variables, x).dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


def test_pixel_norm_gives_mean_square_one():
    x = 7 * RNG.standard_normal((2, 3, 3, 16)).astype(np.float32)
    y = pixel_norm(x)
    np.testing.assert_allclose(np.square(y).mean(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(y / x, (y / x)[..., :1] * np.ones(16), rtol=1e-5)
