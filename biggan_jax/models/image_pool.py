"""A pool of generated images, from which D is shown old ones (Shrivastava et al. 2017; Zhu et al. 2017)."""

from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax.types import Image

Pool = dict[str, Any]
"""images [size, ...] and how many of them are filled."""


def empty(size: int, image_shape: tuple[int, ...]) -> Pool:
    """Return a pool without images."""
    return {"images": jnp.zeros((size, *image_shape)), "filled": jnp.int32(0)}


def exchange(pool: Pool, images: Image, key: jax.Array) -> tuple[Pool, Image]:
    """Return the pool after images [B, ...] came one by one, and what D sees in their place.

    While the pool fills, an image is stored and seen. Then, half of the time, it takes the place of a stored one, drawn
    uniformly, and that one is seen.
    """
    size = len(pool["images"])
    if not size:
        return pool, images

    def one(pool, image_and_key):
        image, key = image_and_key
        coin, place = jax.random.split(key)
        stored, filled = pool["images"], pool["filled"]
        filling = filled < size
        swaps = ~filling & jax.random.bernoulli(coin)
        at = jnp.where(filling, filled, jax.random.randint(place, (), 0, size))
        seen = jnp.where(swaps, stored[at], image)
        stored = stored.at[at].set(jnp.where(filling | swaps, image, stored[at]))
        return {"images": stored, "filled": jnp.minimum(filled + 1, size)}, seen

    return jax.lax.scan(one, pool, (images, jax.random.split(key, len(images))))
