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
        return (
            jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        )


class ClassEmbedding(nn.Module):
    """A vector for each class: labels int [B] are looked up, mixtures float [B, num_classes] are weighted sums."""

    num_classes: int
    features: int

    @nn.compact
    def __call__(self, y: jax.Array) -> jax.Array:
        embedding = self.param("embedding", orthogonal, (self.num_classes, self.features))
        if jnp.issubdtype(y.dtype, jnp.integer):
            return embedding[y]
        return jnp.dot(y, embedding, precision=jax.lax.Precision.HIGHEST)
