"""Owns the linear layers in the form that all networks here use: orthogonal weights, zero biases. Must not know spectral norm.

Departs: BigGAN-PyTorch leaves biases at PyTorch's uniform default; ours start at zero.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

orthogonal = nn.initializers.orthogonal()

Dense = functools.partial(nn.Dense, kernel_init=orthogonal)
Conv3x3 = functools.partial(nn.Conv, kernel_size=(3, 3), kernel_init=orthogonal)
Conv1x1 = functools.partial(nn.Conv, kernel_size=(1, 1), kernel_init=orthogonal)


class FirstOfConv3x3(nn.Module):
    """The first `outputs` channels of a 3x3 convolution that has `features` filters: the other filters are never applied."""

    features: int
    outputs: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", orthogonal, (3, 3, x.shape[-1], self.features))[..., : self.outputs]
        bias = self.param("bias", nn.initializers.zeros, (self.features,))[: self.outputs]
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        return _to_few(x, kernel) + bias


@jax.custom_vjp
def _to_few(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of x with kernel [3, 3, in, out], out being few.

    Its gradient handles kernels with their inputs last in memory. Left to itself, a TPU's compiler may put the three outputs
    last, fill 3 of 128 lanes, and take a twentieth of BigGAN-deep's step for this one kernel.
    """
    return _same(x, kernel)


def _same(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def _to_few_gradient(kept, g):
    x, kernel = kept
    (d_kernel,) = jax.vjp(lambda kernel: _same(x, kernel), kernel)[1](g)
    turned = jax.lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
    return _same(g, turned), jax.lax.optimization_barrier(d_kernel.swapaxes(2, 3)).swapaxes(2, 3)


_to_few.defvjp(lambda x, kernel: (_to_few(x, kernel), (x, kernel)), _to_few_gradient)


@jax.custom_vjp
def look_up(table: jax.Array, y: jax.Array) -> jax.Array:
    """The rows y, int [B], of the table [classes, features]."""
    return table[y]


def _look_up_gradient(kept, g):
    # A product with one-hot labels. Scattering would do, but two of them, for real and fake labels, the compiler makes one,
    # concatenated along the batch, which moves it between the devices.
    y, classes = kept
    return jnp.dot(jax.nn.one_hot(y, classes, dtype=g.dtype).T, g, precision=jax.lax.Precision.HIGHEST), None


look_up.defvjp(lambda table, y: (table[y], (y, table.shape[0])), _look_up_gradient)


class ClassEmbedding(nn.Module):
    """A vector for each class: labels int [B] are looked up, mixtures float [B, num_classes] are weighted sums."""

    num_classes: int
    features: int

    @nn.compact
    def __call__(self, y: jax.Array) -> jax.Array:
        embedding = self.param("embedding", orthogonal, (self.num_classes, self.features))
        if jnp.issubdtype(y.dtype, jnp.integer):
            return look_up(embedding, y)
        return jnp.dot(y, embedding, precision=jax.lax.Precision.HIGHEST)
