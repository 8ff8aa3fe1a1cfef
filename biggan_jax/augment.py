"""Owns DiffAugment: random, differentiable changes that D sees on real and fake alike (Zhao et al. 2020). Must not know networks.

Without it, a discriminator learns a small data set by heart.
"""

import jax
import jax.numpy as jnp

from biggan_jax.types import Image


def translate(x: Image, key: jax.Array, ratio: float = 0.125) -> Image:
    """Shifts each image by up to `ratio` of its size in both directions; black (-1) comes in at the edges."""
    b, h, w, _ = x.shape
    reach_y, reach_x = round(h * ratio), round(w * ratio)
    key_y, key_x = jax.random.split(key)
    rows = jnp.arange(h) + jax.random.randint(key_y, (b, 1), -reach_y, reach_y + 1)
    columns = jnp.arange(w) + jax.random.randint(key_x, (b, 1), -reach_x, reach_x + 1)
    # One-hot matrices, not gathers: a gather's gradient is a scatter, slow on TPU.
    x = jnp.einsum("byi,bijc->byjc", jax.nn.one_hot(rows, h), x + 1, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("bxj,byjc->byxc", jax.nn.one_hot(columns, w), x, precision=jax.lax.Precision.HIGHEST) - 1


POLICIES = {"translation": translate}


def apply(x: Image, key: jax.Array, policy: tuple[str, ...]) -> Image:
    """Applies each augmentation that `policy` names, in its order. x: float32 [B, H, W, 3] in [-1, 1]."""
    for name, k in zip(policy, jax.random.split(key, max(len(policy), 1)), strict=False):
        x = POLICIES[name](x, k)
    return x
