"""Up- and downsampling by two, alone and fused with the adjacent 3x3 convolution.

A 3x3 convolution followed by 2x2 averaging equals a 4x4 convolution of stride 2, whose kernel sums shifted copies of the
3x3 kernel: 4/9 of the work. The gradient of nearest-neighbour upsampling followed by a convolution is such a convolution too.
The plain form stays where the TPU compiler counts fewer cycles for it. The upsampling convolution itself, and the gradient of the
pooled one to x, are transposed convolutions with that kernel, which take 4/9 of the work by phases. On one CPU, large layers do so.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.layers.convolution import LAYOUT, conv_general_dilated, has_pieces, rotated
from biggan_jax.layers.linear import orthogonal
from biggan_jax.layers.transposed import conv_transpose, double_in_pieces

MIN_HEIGHT = 16
"""The plain form is used below this height of the larger image: there, summing wide kernels costs more than it saves."""

LEAST_WIDE = 32
"""Channels, before and after, from which resampling is done by phases on one CPU; fewer were not measured."""


def upsample(x: jax.Array) -> jax.Array:
    """Upsample by nearest neighbour: [B, H, W, C] to [B, 2H, 2W, C]."""
    return jax.lax.platform_dependent(x, tpu=_upsample_by_windows, default=_upsample_by_broadcast)


def _upsample_by_broadcast(x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    # One broadcast, since two repeats would write the image twice.
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def _upsample_by_windows(x: jax.Array) -> jax.Array:
    """Sum each 2x2 window of x with zeros between its pixels, of which each window holds one."""
    # On a TPU a broadcast is an operation of its own, and so is its gradient; on v5e G's last stages take 0.8 of the time with sums.
    one, two, sides = (1, 1, 1, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, two, one, sides, base_dilation=two)


def average_pool(x: jax.Array) -> jax.Array:
    """Average each 2x2 square: [B, H, W, C] to [B, H/2, W/2, C]."""
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


def smooth_upsample(x: jax.Array) -> jax.Array:
    """Upsample with the filter [1, 3, 3, 1] / 4 in both directions: [B, H, W, C] to [B, 2H, 2W, C]. Beyond the edge is 0."""
    for axis in (1, 2):
        x = _smooth_up(x, axis)
    return x


def smooth_downsample(x: jax.Array) -> jax.Array:
    """Downsample with the filter [1, 3, 3, 1] / 8 in both directions: [B, H, W, C] to [B, H/2, W/2, C]. Beyond the edge is 0."""
    for axis in (1, 2):
        x = _smooth_down(x, axis)
    return x


def smooth(x: jax.Array, padding: int) -> jax.Array:
    """Filter with [1, 3, 3, 1] / 8 in both directions: [B, H, W, C] to [B, H + 2 padding - 3, W + 2 padding - 3, C].

    padding: zeros that are added on each side.
    """
    for axis in (1, 2):
        x = jnp.pad(x, [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)])
        a, b, c, d = (jax.lax.slice_in_dim(x, i, x.shape[axis] - 3 + i, axis=axis) for i in range(4))
        x = (a + 3 * (b + c) + d) / 8
    return x


def blur(x: jax.Array) -> jax.Array:
    """Filter x [B, H, W, C] with [1, 2, 1] / 4 in both directions. Beyond the edge is 0."""
    for axis in (1, 2):
        x = (_before(x, axis) + 2 * x + _after(x, axis)) / 4
    return x


def smooth_upsample_conv(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """Double the size by a transposed convolution, then filter with [1, 3, 3, 1] / 4 (Karras et al. 2019, section 2.2).

    [B, H, W, C] to [B, 2H, 2W, out]; kernel [3, 3, C / groups, out]. The filter sees what the convolution writes beyond the edge,
    so that this is not a convolution of `smooth_upsample`.
    """
    strides, padding = (2, 2), ((2, 2), (2, 2))
    if groups == 1:
        y = conv_transpose(x, kernel, strides, padding)
    else:
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), padding, strides, dimension_numbers=LAYOUT, feature_group_count=groups
        )
    return 4 * smooth(y, 1)


def smooth_conv_downsample(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Filter with [1, 3, 3, 1] / 8, then halve the size by a convolution of stride 2: the reverse of `smooth_upsample_conv`.

    [B, H, W, C] to [B, H/2, W/2, out]; kernel [3, 3, C, out].
    """
    return conv_general_dilated(smooth(x, 2), kernel, (2, 2), "VALID", dimension_numbers=LAYOUT)


def _smooth_up(x: jax.Array, axis: int) -> jax.Array:
    """Each pixel makes two, of which each is 3/4 of it and 1/4 of its neighbour on that side."""
    pairs = jnp.stack([_before(x, axis) + 3 * x, 3 * x + _after(x, axis)], axis=axis + 1) / 4
    return pairs.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])


def _smooth_down(x: jax.Array, axis: int) -> jax.Array:
    """Each pair of pixels, 3/8 of both, and 1/8 of its two neighbours."""
    pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    first, second = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))
    return (_before(second, axis) + 3 * (first + second) + _after(first, axis)) / 8


def _before(x: jax.Array, axis: int) -> jax.Array:
    """Return each pixel's predecessor, 0 for the first."""
    return _shifted(x, axis, (1, 0), 0)


def _after(x: jax.Array, axis: int) -> jax.Array:
    """Return each pixel's successor, 0 for the last."""
    return _shifted(x, axis, (0, 1), 1)


def _shifted(x: jax.Array, axis: int, padding: tuple[int, int], first: int) -> jax.Array:
    padded = jnp.pad(x, [padding if i == axis else (0, 0) for i in range(x.ndim)])
    return jax.lax.slice_in_dim(padded, first, first + x.shape[axis], axis=axis)


class _Conv3x3(nn.Module):
    """A 3x3 convolution fused with resampling by `apply_kernel`; parameters have the names and shapes of nn.Conv's."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", orthogonal, (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return self.apply_kernel(x.astype(self.dtype), kernel) + bias.astype(self.dtype)


class UpConv3x3(_Conv3x3):
    """Upsampling, then a 3x3 convolution: [B, H, W, C] to [B, 2H, 2W, features]."""

    def apply_kernel(self, x, kernel):
        return upsample_conv(x, kernel)


class Conv3x3Pool(_Conv3x3):
    """A 3x3 convolution, then 2x2 averaging: [B, H, W, C] to [B, H/2, W/2, features]."""

    def apply_kernel(self, x, kernel):
        return conv_pool(x, kernel)


@jax.custom_vjp
def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve upsample(x) with kernel [3, 3, in, out], in float32 or x's dtype."""
    return _upsample_conv(x, kernel)


def _upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    b, h, w, _ = x.shape
    if _by_phases((b, 2 * h, 2 * w), kernel):
        return double_in_pieces(x, _spread(kernel).astype(x.dtype))
    return _conv(upsample(x), kernel)


def _upsample_conv_gradient(kept, g):
    x, kernel = kept
    if g.shape[1] < MIN_HEIGHT:
        return jax.vjp(_upsample_conv, x, kernel)[1](g)
    _, to_kernel = jax.vjp(lambda kernel: _upsample_conv(x, kernel), kernel)
    # 4x4 pixels of the output depend on each pixel of x.
    return _conv(g, _spread(rotated(kernel)), 2), *to_kernel(g)


upsample_conv.defvjp(lambda x, kernel: (upsample_conv(x, kernel), (x, kernel)), _upsample_conv_gradient)


@jax.custom_vjp
def conv_pool(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve x with kernel [3, 3, in, out], in float32 or x's dtype; then average over 2x2 squares."""
    if x.shape[1] < MIN_HEIGHT:
        return average_pool(_conv(x, kernel))
    return _conv(x, _spread(kernel) / 4, 2)


def _conv_pool_gradient(kept, g):
    x, kernel = kept
    plain = lambda x, kernel: average_pool(_conv(x, kernel))
    if x.shape[1] < MIN_HEIGHT:
        return jax.vjp(plain, x, kernel)[1](g)
    _, to_kernel = jax.vjp(lambda kernel: _conv(x, _spread(kernel) / 4, 2), kernel)
    if _by_phases(x.shape, kernel):
        return double_in_pieces(g, (_spread(rotated(kernel)) / 4).astype(g.dtype)), *to_kernel(g)
    _, to_x = jax.vjp(lambda x: plain(x, kernel), x)
    return *to_x(g), *to_kernel(g)


conv_pool.defvjp(lambda x, kernel: (conv_pool(x, kernel), (x, kernel)), _conv_pool_gradient)


def _by_phases(shape: Sequence[int], kernel: jax.Array) -> bool:
    """Return whether resampling next to kernel [3, 3, in, out] is done by phases, for larger images of `shape` [B, H, W, ...]."""
    _, height, width = shape[:3]
    even, wide = height % 2 == width % 2 == 0, min(kernel.shape[2:]) >= LEAST_WIDE
    return height >= MIN_HEIGHT and even and wide and has_pieces(shape, kernel)


def _spread(kernel: jax.Array) -> jax.Array:
    """Return the kernel [4, 4, in, out] that sums the four copies of [3, 3, in, out] in its corners."""
    rows = jnp.add(*(jnp.pad(kernel, ((i, 1 - i), (0, 0), (0, 0), (0, 0))) for i in (0, 1)))
    return jnp.add(*(jnp.pad(rows, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in (0, 1)))


def _conv(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: tuple[int, int] = (1, 1)) -> jax.Array:
    """Convolve [B, H, W, in], by default padded by one: with [3, 3, in, out], or at stride 2 with [4, 4, in, out]."""
    strides, sides = (stride, stride), tuple((size, size) for size in padding)
    return conv_general_dilated(x, kernel.astype(x.dtype), strides, sides, dimension_numbers=LAYOUT)
