"""Linear layers with orthogonal weights and zero biases, and class embeddings.

Difference: BigGAN-PyTorch keeps PyTorch's uniform initial biases; here biases start at zero.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.convolution import conv_general_dilated
from biggan_jax.types import Label

orthogonal = nn.initializers.orthogonal()

Dense = functools.partial(nn.Dense, kernel_init=orthogonal)
Conv = functools.partial(nn.Conv, kernel_init=orthogonal, conv_general_dilated=conv_general_dilated)
Conv3x3 = functools.partial(Conv, kernel_size=(3, 3))
Conv1x1 = functools.partial(Conv, kernel_size=(1, 1))


class FirstOfConv3x3(nn.Module):
    """The first `outputs` channels of a 3x3 convolution with `features` filters; the other filters are not computed."""

    features: int
    outputs: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", orthogonal, (3, 3, x.shape[-1], self.features))[..., : self.outputs]
        bias = self.param("bias", nn.initializers.zeros, (self.features,))[: self.outputs]
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        return (_to_few(x, kernel) + bias).astype(self.dtype)


@jax.custom_vjp
def _to_few(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve x [B, H, W, in] with kernel [3, 3, in, out] for a small `out`, in float32.

    One product with all nine taps, whose results are shifted and added. A TPU multiplies 128 outputs at a time, so that a
    convolution with three outputs would take nine times the products. Where the compiler lays out the three outputs last
    in memory, the gradient of this kernel alone would take a twentieth of BigGAN-deep's step. Differentiable in reverse
    mode only.
    """
    # XLA fuses a convolution with the batch norm and ReLU before it: 0.38 instead of 0.68 million cycles for 8 images on
    # v5e. With the gradient of 32 images, a convolution takes 16.7 million cycles and an einsum 15.8 million.
    kernel_1x1, layout = _taps(kernel)[None, None], ("NHWC", "HWIO", "NHWC")
    convolve = functools.partial(jax.lax.conv_general_dilated, dimension_numbers=layout)
    product = convolve(x, kernel_1x1, (1, 1), "VALID", preferred_element_type=jnp.float32)
    return _shifted_sum(product, kernel.shape[-1])


def _to_few_for_gradient(x: jax.Array, kernel: jax.Array) -> jax.Array:
    product = jnp.einsum("bhwi,io->bhwo", x, _taps(kernel), preferred_element_type=jnp.float32)
    return _shifted_sum(product, kernel.shape[-1])


_to_few.defvjp(lambda *arguments: jax.vjp(_to_few_for_gradient, *arguments), lambda pullback, g: pullback(g))


def _taps(kernel: jax.Array) -> jax.Array:
    """Reshape a kernel [3, 3, in, out] to [in, 9 out]."""
    return kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)


def _shifted_sum(y: jax.Array, few: int) -> jax.Array:
    """Shift and add each pixel's nine products [B, H, W, 9 few]: [B, H, W, few]."""
    _, h, w, _ = y.shape
    y = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tap = lambda i, j: y[:, i : i + h, j : j + w, (3 * i + j) * few :][..., :few]
    return functools.reduce(jnp.add, (tap(i, j) for i in range(3) for j in range(3)))


@jax.custom_vjp
def look_up(table: jax.Array, y: jax.Array) -> jax.Array:
    """Return the rows y, int [B], of the table [classes, features]."""
    return table[y]


def _look_up_gradient(kept, g):
    # A product with one-hot labels instead of a scatter: the compiler joins the scatters of real and fake labels to one,
    # concatenated along the batch, which moves the batch between devices.
    y, classes = kept
    return jnp.dot(jax.nn.one_hot(y, classes, dtype=g.dtype).T, g, precision=jax.lax.Precision.HIGHEST), None


look_up.defvjp(lambda table, y: (table[y], (y, table.shape[0])), _look_up_gradient)


class ClassEmbedding(nn.Module):
    """A vector for each class. Labels int [B] select rows; mixtures or real numbers float [B, num_classes] weigh rows."""

    num_classes: int
    features: int
    embedding_init: Callable = orthogonal

    @nn.compact
    def __call__(self, y: Label) -> jax.Array:
        embedding = self.param("embedding", self.embedding_init, (self.num_classes, self.features))
        if jnp.issubdtype(y.dtype, jnp.integer):
            return look_up(embedding, y)
        return jnp.dot(y, embedding, precision=jax.lax.Precision.HIGHEST)
