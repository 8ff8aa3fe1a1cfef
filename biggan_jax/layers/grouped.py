"""3x3 convolutions in groups of channels, whose gradients are quick on CPUs, too.

XLA takes 3 to 6 times as long on CPUs for groups as for one convolution after another, and computes the gradient by the kernel as
a convolution of all groups with all, a hundred times as long. So on CPUs up to MOST_SPLIT groups are convolved one by one, narrow
ones two columns at a time; of more, which take long to compile one by one, that gradient is nine products, one for each entry of
the kernel.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.convolution import LAYOUT

MOST_SPLIT = 16
NARROW = 16
"""Inputs, and outputs, of a group up to which two columns at a time are quicker; by measurement with AVX-512 at 8 to 32 pixels."""


class GroupedConv3x3(nn.Module):
    """A 3x3 convolution with a bias; parameters have the names and shapes of nn.Conv's with feature_group_count."""

    features: int
    groups: int
    kernel_init: Callable
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1] // self.groups, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return grouped_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.groups) + bias.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """Convolve x [B, H, W, C], padded by one, with kernel [3, 3, C / groups, features], group by group."""
    return _conv(x, kernel, groups)


def _gradients(groups, kept, g):
    x, kernel = kept
    # The gradient by x is such a convolution itself, so that gradient penalties, which differentiate it, are quick.
    quick = _products if groups > MOST_SPLIT else functools.partial(_transposed, convolve=_split)
    slow = functools.partial(_transposed, convolve=_together)
    by_kernel = jax.lax.platform_dependent(
        x, g, cpu=functools.partial(quick, groups=groups), default=functools.partial(slow, groups=groups)
    )
    return grouped_conv(g, _rotated(kernel, groups), groups), by_kernel


grouped_conv.defvjp(lambda x, kernel, groups: (_conv(x, kernel, groups), (x, kernel)), _gradients)


def _conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    if groups > MOST_SPLIT:
        return _together(x, kernel, groups=groups)
    one_by_one, together = (functools.partial(form, groups=groups) for form in (_one_by_one, _together))
    return jax.lax.platform_dependent(x, kernel, cpu=one_by_one, default=together)


def _together(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    """Convolve all groups by one operation."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups)


def _one_by_one(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    """Convolve each group by an operation of its own, narrow ones two columns at a time."""
    narrow = x.shape[2] % 2 == 0 and max(x.shape[-1], kernel.shape[-1]) <= NARROW * groups
    return _split(x, kernel, groups=groups, convolve=_pairs_of_columns if narrow else _one)


_one = functools.partial(_together, groups=1)


def _split(x: jax.Array, kernel: jax.Array, *, groups: int, convolve: Callable = _one) -> jax.Array:
    """Convolve each group by `convolve`, and join the results."""
    inputs, kernels = jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1)
    each = zip(inputs, kernels, strict=True)
    return jnp.concatenate([convolve(own, weights) for own, weights in each], axis=-1)


def _pairs_of_columns(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with a window of four columns and a stride of two, whose outputs are those of two columns.

    A third more products, but twice the outputs of a window, which fill a CPU's registers.
    """
    first, second = (jnp.pad(kernel, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in range(2))
    both = jnp.concatenate([first, second], axis=-1)
    y = jax.lax.conv_general_dilated(x, both, (1, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    return y.reshape(*x.shape[:3], kernel.shape[-1])


def _rotated(kernel: jax.Array, groups: int) -> jax.Array:
    """Return the kernel turned by 180 degrees, with inputs and outputs of each group exchanged."""
    turned = kernel[::-1, ::-1].reshape(3, 3, kernel.shape[2], groups, -1)
    return turned.transpose(0, 1, 4, 3, 2).reshape(3, 3, turned.shape[-1], -1)


def _transposed(x: jax.Array, g: jax.Array, *, groups: int, convolve: Callable) -> jax.Array:
    """Return the kernel's gradient as XLA has it for that form of the convolution."""
    shape = jax.ShapeDtypeStruct((3, 3, x.shape[-1] // groups, g.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda kernel: convolve(x, kernel, groups=groups), shape)(g)[0]


def _products(x: jax.Array, g: jax.Array, *, groups: int) -> jax.Array:
    """Return the kernel's gradient, entry by entry, as products of the shifted x with g in each group."""
    b, h, w, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(b, h + 2, w + 2, groups, -1)
    g = g.reshape(b, h, w, groups, -1)
    of = lambda i, j: jnp.einsum("bhwgi,bhwgo->igo", x[:, i : i + h, j : j + w], g, preferred_element_type=jnp.float32)
    entries = jnp.stack([of(i, j) for i in range(3) for j in range(3)])
    return entries.reshape(3, 3, channels // groups, -1).astype(x.dtype)
