"""Modulated convolutions, and the resampling convolutions of StyleGANs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import modulated
from biggan_jax.layers.resample import smooth, smooth_conv_downsample, smooth_upsample_conv

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 6, 5)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 5, 7)).astype(np.float32)
STYLES = 1 + RNG.standard_normal((3, 5)).astype(np.float32)
FIR = np.float64([1, 3, 3, 1]) / 8


def convolved(x, kernel, stride=1):
    """Correlate x [B, H, W, in] with kernel [k, k, in, out] where they overlap, in float64."""
    size = len(kernel)
    height, width = (n - size + 1 for n in x.shape[1:3])
    shifted = [[x[:, i : i + height, j : j + width] for j in range(size)] for i in range(size)]
    return np.einsum("ijbhwc,ijcd->bhwd", np.float64(shifted), np.float64(kernel))[:, ::stride, ::stride]


def filtered(x, padding):
    """Filter x with [1, 3, 3, 1] / 8 in both directions."""
    channels = x.shape[-1]
    kernel = np.multiply.outer(np.outer(FIR, FIR), np.eye(channels))
    return convolved(np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))), kernel)


def test_smooth_filters_with_1_3_3_1():
    np.testing.assert_allclose(smooth(X, 2), filtered(X, 2), atol=1e-6)
    np.testing.assert_allclose(smooth(np.ones((1, 8, 8, 1), np.float32), 0), 1, atol=1e-7)


def test_upsampling_convolves_zeros_between_pixels_then_filters():
    stuffed = np.zeros((3, 7 + 4, 11 + 4, 5))
    stuffed[:, 2:-2:2, 2:-2:2] = X
    expected = 4 * filtered(convolved(stuffed, KERNEL), 1)
    assert expected.shape == (3, 8, 12, 7)
    np.testing.assert_allclose(smooth_upsample_conv(X, KERNEL), expected, atol=1e-4)


def test_downsampling_filters_then_convolves_with_stride_2():
    expected = convolved(filtered(X, 2), KERNEL, stride=2)
    assert expected.shape == (3, 2, 3, 7)
    np.testing.assert_allclose(smooth_conv_downsample(X, KERNEL), expected, atol=1e-4)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaled_activations_are_a_kernel_for_each_image(up, demodulate):
    options = {"demodulate": demodulate, "up": up}
    scaled = modulated.scaled_conv(X, KERNEL, STYLES, **options)
    own = modulated.per_sample_conv(X, KERNEL, STYLES, **options)
    assert scaled.shape == own.shape == ((3, 8, 12, 7) if up else (3, 4, 6, 7))
    np.testing.assert_allclose(scaled, own, atol=1e-4)
    if not up:
        kernels = KERNEL * STYLES[:, None, None, :, None]
        if demodulate:
            kernels /= np.sqrt(np.square(kernels).sum((1, 2, 3), keepdims=True))
        padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
        expected = np.concatenate([convolved(padded[i : i + 1], kernels[i]) for i in range(3)])
        np.testing.assert_allclose(scaled, expected, atol=1e-4)


def test_demodulated_outputs_keep_unit_variance():
    x = RNG.standard_normal((8, 16, 16, 64)).astype(np.float32)
    styles = np.exp(RNG.standard_normal((8, 64))).astype(np.float32)
    kernel = RNG.standard_normal((3, 3, 64, 32)).astype(np.float32)
    inner = modulated.scaled_conv(x, kernel, styles, demodulate=True, up=False)[:, 1:-1, 1:-1]
    assert float(jnp.std(inner)) == pytest.approx(1, abs=0.05)


def test_styles_are_one_at_first_and_follow_w():
    layer = modulated.ModulatedConv(7, gain=0.5, demodulate=False)
    w = jnp.ones((3, 4))
    params = layer.init(jax.random.key(0), X, w)["params"]
    assert params["kernel"].shape == (3, 3, 5, 7) and np.all(params["style"]["bias"] == 1)
    still = layer.apply({"params": params}, X, 0 * w)
    expected = modulated.scaled_conv(X, params["kernel"], 0.5 * jnp.ones((3, 5)), demodulate=False, up=False)
    np.testing.assert_allclose(still, expected, atol=1e-5)
    assert abs(layer.apply({"params": params}, X, w) - still).max() > 0.1


def test_activations_are_bounded_by_their_clamp():
    x = jnp.array([-100.0, -1.0, 0.0, 1.0, 100.0])
    np.testing.assert_allclose(modulated.leaky_relu(x, 2.0, 30.0), [-30, -0.4, 0, 2, 30], rtol=1e-6)
    np.testing.assert_allclose(modulated.leaky_relu(x), np.where(x > 0, x, 0.2 * x) * 2**0.5, rtol=1e-6)
