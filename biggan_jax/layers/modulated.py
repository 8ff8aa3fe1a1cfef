"""Modulated convolution: each image has weights of its own, scaled by a style (Karras et al. 2020, section 2.2).

With styles s [B, in] and weights w [k, k, in, out], image b is convolved with w'_io = w_io s_bi. Demodulated weights are divided
by their length: w'_io / sqrt(sum_i w'_io^2 + 1e-8), so that outputs have the variance of inputs.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.convolution import LAYOUT, conv_general_dilated
from biggan_jax.layers.equalized import EqualizedDense
from biggan_jax.layers.resample import smooth_upsample_conv

EPS = 1e-8


class ModulatedConv(nn.Module):
    """x [B, H, W, in] and w [B, dim_w] to [B, H', W', features]. Styles are an equalized dense layer of w; their bias is 1 at first.

    gain: factor of the styles. up: double the size first; see smooth_upsample_conv. demodulate: see above. per_sample: make each
    image's weights, and convolve in groups; slow on TPUs. Otherwise inputs and outputs are scaled, which is equal up to rounding.
    """

    features: int
    size: int = 3
    up: bool = False
    gain: float = 1.0
    demodulate: bool = True
    per_sample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        styles = self.gain * EqualizedDense(channels, bias_init=1.0, name="style")(w.astype(jnp.float32))
        kernel = self.param("kernel", nn.initializers.normal(1.0), (self.size, self.size, channels, self.features))
        convolve = per_sample_conv if self.per_sample else scaled_conv
        return convolve(x, kernel, styles, demodulate=self.demodulate, up=self.up)


def scaled_conv(x: jax.Array, kernel: jax.Array, styles: jax.Array, *, demodulate: bool, up: bool) -> jax.Array:
    """Scale the channels of x [B, H, W, in], convolve with one kernel for all images, scale the channels of the result."""
    y = _convolve(x * _as_maps(styles, x), kernel.astype(x.dtype), up=up)
    return y * _as_maps(inverse_lengths(kernel, styles), x) if demodulate else y


def inverse_lengths(kernel: jax.Array, styles: jax.Array) -> jax.Array:
    """Return 1 / the length of each image's weights, [B, out]."""
    squares = jnp.dot(jnp.square(styles), jnp.square(kernel).sum((0, 1)), precision=jax.lax.Precision.HIGHEST)
    return jax.lax.rsqrt(squares + EPS)


def per_sample_conv(x: jax.Array, kernel: jax.Array, styles: jax.Array, *, demodulate: bool, up: bool) -> jax.Array:
    """Scale the kernel for each image, and convolve all images as groups of channels of one."""
    b, h, w, channels = x.shape
    kernels = kernel * styles[:, None, None, :, None]
    if demodulate:
        kernels *= jax.lax.rsqrt(jnp.square(kernels).sum((1, 2, 3), keepdims=True) + EPS)
    size, features = kernel.shape[0], kernel.shape[-1]
    grouped = jnp.moveaxis(kernels, 0, 3).reshape(size, size, channels, b * features).astype(x.dtype)
    y = _convolve(jnp.moveaxis(x, 0, 2).reshape(1, h, w, b * channels), grouped, up=up, groups=b)
    return jnp.moveaxis(y.reshape(*y.shape[1:3], b, features), 2, 0)


def leaky_relu(x: jax.Array, gain: float = math.sqrt(2), clamp: float = 0.0) -> jax.Array:
    """Leaky ReLU with slope 0.2, times `gain`, which keeps the variance; then clipped to [-clamp, clamp], if that is above 0."""
    return clip(nn.leaky_relu(x, 0.2) * gain, clamp)


def clip(x: jax.Array, clamp: float) -> jax.Array:
    """Clip x to [-clamp, clamp], if that is above 0."""
    return jnp.clip(x, -clamp, clamp) if clamp else x


def _as_maps(scale: jax.Array, like: jax.Array) -> jax.Array:
    return scale[:, None, None].astype(like.dtype)


def _convolve(x: jax.Array, kernel: jax.Array, *, up: bool, groups: int = 1) -> jax.Array:
    if up:
        return smooth_upsample_conv(x, kernel, groups)
    return conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups)
