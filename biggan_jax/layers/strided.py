"""Convolutions of kernel 4 and stride 2 in any number of dimensions, plain or by phases.

With stride 2, a convolution is one of kernel 2 over squares of 2 pixels, whose pixels are channels; a transposed one computes
the pixels of such squares as channels. Both equal the plain form up to rounding. On CPUs, in three dimensions, the plain
transposed convolution, its gradients and the gradient of the other by x take 15 to 60 times the CPU time.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

LETTERS = "WHD"  # Names of axes in XLA's layouts, from the last.


def _layout(dims: int) -> tuple[str, str, str]:
    axes = LETTERS[:dims][::-1]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def halve(x: jax.Array, kernel: jax.Array, *, phases: bool) -> jax.Array:
    """Convolve x [B, ..., C], padded by 1, with kernel [4, ..., C, out] in steps of 2: all sizes are halved."""
    dims, (channels, out) = x.ndim - 2, kernel.shape[-2:]
    if not phases:
        return jax.lax.conv_general_dilated(x, kernel, (2,) * dims, [(1, 1)] * dims, dimension_numbers=_layout(dims))
    x = jnp.pad(x, [(0, 0), *[(1, 1)] * dims, (0, 0)])
    x = _split(x, 1, dims)
    x = x.reshape(*x.shape[: dims + 1], 2**dims * channels)
    kernel = _split(kernel, 0, dims).reshape(*(2,) * dims, 2**dims * channels, out)
    return jax.lax.conv_general_dilated(x, kernel, (1,) * dims, "VALID", dimension_numbers=_layout(dims))


def double(x: jax.Array, kernel: jax.Array, *, phases: bool) -> jax.Array:
    """Convolve x [B, ..., C], with zeros between its pixels and beyond its edges, with kernel [4, ..., C, out].

    All sizes are doubled, as by flax's ConvTranspose with padding SAME.
    """
    dims, (channels, out) = x.ndim - 2, kernel.shape[-2:]
    if not phases:
        return jax.lax.conv_general_dilated(
            x, kernel, (1,) * dims, [(2, 2)] * dims, (2,) * dims, dimension_numbers=_layout(dims)
        )
    # Pixel 2 q + r sees pixels q + r - 1 and q + r by the entries r and r + 2 of the kernel.
    kernel = jnp.moveaxis(_split(kernel, 0, dims), -2, dims).reshape(*(2,) * dims, channels, 2**dims * out)
    y = jax.lax.conv_general_dilated(x, kernel, (1,) * dims, [(1, 1)] * dims, dimension_numbers=_layout(dims))
    y = y.reshape(*y.shape[:-1], *(2,) * dims, out)
    for axis in range(1, dims + 1):
        phase = dims + axis
        parts = (jax.lax.index_in_dim(y, r, phase, keepdims=True) for r in (0, 1))
        size = y.shape[axis] - 1
        y = jnp.concatenate([jax.lax.slice_in_dim(p, r, r + size, axis=axis) for r, p in enumerate(parts)], axis=phase)
    pairs = [axis for i in range(dims) for axis in (1 + i, 1 + dims + i)]
    return y.transpose(0, *pairs, 2 * dims + 1).reshape(len(x), *(2 * size for size in x.shape[1:-1]), out)


def _split(x: jax.Array, first: int, dims: int) -> jax.Array:
    """Split `dims` axes from `first` on into quotients and remainders by 2: all quotients, then all remainders."""
    before, after = x.shape[:first], x.shape[first + dims :]
    halves = [size for n in x.shape[first : first + dims] for size in (n // 2, 2)]
    quotients = [first + 2 * i for i in range(dims)]
    rest = range(first + 2 * dims, first + 2 * dims + len(after))
    x = x.reshape(*before, *halves, *after)
    return x.transpose(*range(first), *quotients, *(axis + 1 for axis in quotients), *rest)


class Halve(nn.Module):
    """A convolution of kernel 4 and stride 2 with biases: [B, ..., C] to [B, .../2, features]."""

    features: int
    kernel_init: Callable
    phases: bool = True
    operation = staticmethod(halve)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*(4,) * (x.ndim - 2), x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return self.operation(x, kernel, phases=self.phases) + bias


class Double(Halve):
    """A transposed convolution of kernel 4 and stride 2 with biases: [B, ..., C] to [B, 2 ..., features]."""

    operation = staticmethod(double)


class Expand(nn.Module):
    """Each pixel becomes a block of `size` pixels, a bias for each channel: [..., C] to [..., *size, features].

    It is a transposed convolution of kernel `size` whose steps are not smaller.
    """

    features: int
    size: tuple[int, ...]
    kernel_init: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        flat = kernel.reshape(math.prod(self.size), x.shape[-1], self.features)
        out = jnp.einsum("...i,kio->...ko", x, flat)
        return out.reshape(*x.shape[:-1], *self.size, self.features) + bias
