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
