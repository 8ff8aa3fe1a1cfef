"""Transposed convolutions of pictures: [B, H, W, in] to larger [B, H', W', out].

A CPU computes them by phases: the outputs whose rows and columns leave the same remainders by the strides are a plain convolution
by every second entry of the kernel, or every third for strides of 3. XLA's own form writes zeros between the pixels, and its
gradient to the kernel takes 5 to 40 times as long there.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from biggan_jax.layers.convolution import LAYOUT, conv_of_pieces, conv_of_products
from biggan_jax.types import Array

Pair = tuple[int, int]


def conv_transpose(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Sequence[Pair]) -> jax.Array:
    """Convolve x [B, H, W, in] with kernel [h, w, in, out], with strides - 1 zeros between pixels and `padding` zeros around them.

    The result has (H - 1) stride + 2 + the padding of both sides - h rows, and as many columns.
    """
    plain = functools.partial(_plain, strides=strides, padding=padding)
    axes = [_Axis(*axis) for axis in zip(x.shape[1:3], kernel.shape[:2], strides, padding, strict=True)]
    if all(axis.is_one_pixel for axis in axes):
        return jax.lax.platform_dependent(x, kernel, cpu=_of_one_pixel, default=plain)
    if max(strides) == 1 or not all(axis.has_phases for axis in axes):
        return plain(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=functools.partial(_by_phases, axes), default=plain)


def double_in_pieces(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Double the size of x [B, H, W, in] with kernel [4, 4, in, out], zeros between and around the pixels, for large x on a CPU."""
    axes = [_Axis(pixels, 4, 2, (2, 2)) for pixels in x.shape[1:3]]
    return _by_phases(axes, x, kernel, conv_of_pieces)


def _plain(x: jax.Array, kernel: jax.Array, *, strides: Pair, padding: Sequence[Pair]) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, strides, dimension_numbers=LAYOUT)


class _Axis(NamedTuple):
    """One axis of a transposed convolution: pixels, entries of the kernel, stride, and zeros before and after."""

    pixels: int
    entries: int
    stride: int
    padding: Pair

    @property
    def outputs(self) -> int:
        return (self.pixels - 1) * self.stride + 2 + sum(self.padding) - self.entries

    @property
    def is_one_pixel(self) -> bool:
        """Whether each output is the one pixel times one entry, so that a convolution would mostly multiply zeros."""
        return self.pixels == 1 and self.padding == (self.entries - 1, self.entries - 1)

    @property
    def has_phases(self) -> bool:
        """Whether each phase is a convolution with entries of the kernel, and zeros beyond the edges or none."""
        return self.entries >= self.stride and all(min(self.phase(r)[1]) >= 0 for r in range(self.stride))

    def phase(self, remainder: int) -> tuple[int, Pair]:
        """Return the first entry that outputs of this remainder see, and the zeros before and after the pixels."""
        # Output r + s q sees the pixels (r + s q + j - before) / s by the entries j for which that is whole.
        first = (self.padding[0] - remainder) % self.stride
        before = (self.padding[0] - remainder - first) // self.stride
        seen = len(range(first, self.entries, self.stride))
        outputs = len(range(remainder, self.outputs, self.stride))
        return first, (before, outputs + seen - 1 - before - self.pixels)


def _of_one_pixel(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the products of one pixel [B, 1, 1, in] with all entries of the kernel."""
    return jnp.einsum("bi,hwio->bhwo", x[:, 0, 0], kernel[::-1, ::-1])


def _by_phases(axes: list[_Axis], x: jax.Array, kernel: jax.Array, convolve: Callable = conv_of_products) -> jax.Array:
    """Compute the phases and interleave them, columns first."""
    rows, columns = axes

    def phase(r: int, c: int) -> jax.Array:
        (row, above), (column, left) = rows.phase(r), columns.phase(c)
        part = kernel[row :: rows.stride, column :: columns.stride]
        return convolve(x, part, (above, left))

    whole = [_interleaved([phase(r, c) for c in range(columns.stride)], 2) for r in range(rows.stride)]
    return _interleaved(whole, 1)


def _interleaved(parts: list[jax.Array], axis: int) -> jax.Array:
    """Take slices of the parts along the axis in turn; the first parts may have one more."""
    if len(parts) == 1:
        return parts[0]
    count, total = parts[0].shape[axis], sum(part.shape[axis] for part in parts)
    padded = [
        jnp.pad(part, [(0, count - part.shape[axis]) if i == axis else (0, 0) for i in range(part.ndim)])
        for part in parts
    ]
    pairs = jnp.stack(padded, axis=axis + 1)
    whole = pairs.reshape(*pairs.shape[:axis], -1, *pairs.shape[axis + 2 :])
    return jax.lax.slice_in_dim(whole, 0, total, axis=axis)


class ConvTranspose(nn.Module):
    """Transposed convolution of [B, H, W, in]; parameters and result are those of flax's ConvTranspose.

    padding: SAME, VALID, or zeros before and after each axis. dtype: of the product; by default that of the inputs.
    """

    features: int
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: str | Sequence[Pair] = "SAME"
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    bias_init: Callable = nn.initializers.zeros
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        bias = self.param("bias", self.bias_init, (self.features,)) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding = self.padding
        if isinstance(padding, str):
            padding = [_zeros_of(padding, k, s) for k, s in zip(self.kernel_size, self.strides, strict=True)]
        y = conv_transpose(x, kernel, self.strides, padding)
        return y if bias is None else y + bias.reshape(1, 1, 1, -1)


def _zeros_of(padding: str, entries: int, stride: int) -> Pair:
    """Return the zeros before and after an axis for SAME, whose output is `stride` times as long, and for VALID."""
    if padding == "VALID":
        return entries - 1, stride - 1 + max(entries - stride, 0)
    total = entries + stride - 2
    before = entries - 1 if stride > entries - 1 else math.ceil(total / 2)
    return before, total - before
