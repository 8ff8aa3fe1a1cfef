"""Owns changes of resolution by two, alone and together with the 3x3 convolution beside them; must not know what is resampled.

A 3x3 convolution followed by 2x2 averaging is a 4x4 convolution of stride 2, whose kernel sums the 3x3 one's shifted copies:
4 of 9 parts of the work. The gradient of nearest-neighbour upsampling followed by a convolution is such a convolution too.
Where the TPU compiler's cycles say that the strided form is the slower one, the plain form stays.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import orthogonal

LEAST = 16
"""Height of the larger picture below which kernels, thousands of channels wide, cost more to sum than pictures to convolve."""


def upsample(x: jax.Array) -> jax.Array:
    """Nearest neighbour: [B, H, W, C] to [B, 2H, 2W, C]."""
    b, h, w, c = x.shape
    # One broadcast: two repeats write the picture twice.
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def average_pool(x: jax.Array) -> jax.Array:
    """Mean of each 2x2 square: [B, H, W, C] to [B, H/2, W/2, C]."""
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


class _Conv3x3(nn.Module):
    """A 3x3 convolution `apply_kernel` in one with its resampling; parameters are those of nn.Conv, by the same names."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", orthogonal, (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return self.apply_kernel(x.astype(self.dtype), kernel) + bias.astype(self.dtype)


class UpConv3x3(_Conv3x3):
    """A 3x3 convolution of x upsampled: [B, H, W, C] to [B, 2H, 2W, features]."""

    def apply_kernel(self, x, kernel):
        return upsample_conv(x, kernel)


class Conv3x3Pool(_Conv3x3):
    """A 3x3 convolution of x, averaged over 2x2 squares: [B, H, W, C] to [B, H/2, W/2, features]."""

    def apply_kernel(self, x, kernel):
        return conv_pool(x, kernel)


@jax.custom_vjp
def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of upsample(x) with kernel [3, 3, in, out], float32 or x's own type."""
    return _conv(upsample(x), kernel)


def _upsample_conv_gradient(kept, g):
    x, kernel = kept
    plain = lambda x, kernel: _conv(upsample(x), kernel)
    if g.shape[1] < LEAST:
        return jax.vjp(plain, x, kernel)[1](g)
    _, to_kernel = jax.vjp(lambda kernel: plain(x, kernel), kernel)
    # Each pixel of x was seen by 4x4 of the output's.
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    return _strided(g, _spread(turned)), *to_kernel(g)


upsample_conv.defvjp(lambda x, kernel: (upsample_conv(x, kernel), (x, kernel)), _upsample_conv_gradient)


@jax.custom_vjp
def conv_pool(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of x with kernel [3, 3, in, out], float32 or x's own type, averaged over 2x2 squares."""
    if x.shape[1] < LEAST:
        return average_pool(_conv(x, kernel))
    return _strided(x, _spread(kernel) / 4)


def _conv_pool_gradient(kept, g):
    x, kernel = kept
    plain = lambda x, kernel: average_pool(_conv(x, kernel))
    if x.shape[1] < LEAST:
        return jax.vjp(plain, x, kernel)[1](g)
    _, to_x = jax.vjp(lambda x: plain(x, kernel), x)
    _, to_kernel = jax.vjp(lambda kernel: _strided(x, _spread(kernel) / 4), kernel)
    return *to_x(g), *to_kernel(g)


conv_pool.defvjp(lambda x, kernel: (conv_pool(x, kernel), (x, kernel)), _conv_pool_gradient)


def _spread(kernel: jax.Array) -> jax.Array:
    """[3, 3, in, out] to [4, 4, in, out]: the sum of the kernel's four copies in the corners."""
    rows = jnp.add(*(jnp.pad(kernel, ((i, 1 - i), (0, 0), (0, 0), (0, 0))) for i in (0, 1)))
    return jnp.add(*(jnp.pad(rows, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in (0, 1)))


def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, 2H, 2W, in] with [4, 4, in, out] to [B, H, W, out]."""
    return jax.lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
