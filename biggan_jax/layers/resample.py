"""Owns changes of resolution by two; must not know what is resampled."""

import flax.linen as nn
import jax


def upsample(x: jax.Array) -> jax.Array:
    """Nearest neighbour: [B, H, W, C] to [B, 2H, 2W, C]."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def average_pool(x: jax.Array) -> jax.Array:
    """Mean of each 2x2 square: [B, H, W, C] to [B, H/2, W/2, C]."""
    return nn.avg_pool(x, (2, 2), strides=(2, 2))
