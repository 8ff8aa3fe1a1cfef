"""The mapping network of StyleGANs: from z, a condition, or both to w (Karras et al. 2019, section 2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.conditioning import as_vector
from biggan_jax.layers.equalized import EqualizedDense
from biggan_jax.layers.modulated import leaky_relu
from biggan_jax.layers.norm import pixel_norm
from biggan_jax.types import Label, Latent


class Mapping(nn.Module):
    """z [B, dim_z], or None, and a condition of size `size` to w [B, widths[-1]], by dense layers of these widths.

    z and the embedding of the condition, of length `embed_dim`, are scaled to mean square 1 and joined. lr: factor of the layers'
    learning rate.
    """

    widths: tuple[int, ...]
    size: int = 0
    embed_dim: int = 0
    lr: float = 0.01

    @nn.compact
    def __call__(self, z: Latent | None, y: Label | None) -> jax.Array:
        parts = [] if z is None else [pixel_norm(jnp.asarray(z))]
        if self.size and y is not None:
            parts.append(pixel_norm(EqualizedDense(self.embed_dim, name="embed")(as_vector(y, self.size))))
        w = jnp.concatenate(parts, axis=-1)
        for i, width in enumerate(self.widths):
            w = leaky_relu(EqualizedDense(width, lr_multiplier=self.lr, name=f"dense_{i}")(w))
        return w
