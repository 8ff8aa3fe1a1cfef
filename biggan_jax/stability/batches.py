"""Signals of the real images that a step reads: whether they differ from each other."""

import jax
import jax.numpy as jnp

from biggan_jax.stability.signals import distance, thumbnails
from biggan_jax.train_step import to_float
from biggan_jax.types import Image

COMPARED = 256  # Images of a batch that are compared with each other, at most.
FEWEST = 8  # Of fewer images no signal is computed: they may be alike by chance.
EQUAL = 2e-3  # Two images are equal if their distance a value is below this share of the mean one between real images,
IN_IMAGES = 1e-3  # or below this in [-1, 1], in which a level of 8 bits is 8e-3.


def signals_of(images: Image, like: Image) -> dict[str, jax.Array]:
    """Compute the signals of the images [minibatches, B, ...] of one step. Pure, and much cheaper than the step.

    like: the real images of all probes; their size may differ.

    - batch_distinct: the share of different images, mirrored or not: 1 / B if all are one
    - batch_spread: distance between two images, relative to that between real images
    """
    x = to_float(images.reshape(-1, *images.shape[2:])[:COMPARED])
    if len(x) < FEWEST:
        return {}
    small, mirrored = thumbnails(x), thumbnails(x[..., ::-1, :] if x.ndim == 4 else x)
    per_value = lambda rows: distance(rows) / jnp.sqrt(rows.shape[-1])  # Images of another size have another number.
    spread = per_value(thumbnails(to_float(like)))
    squared = jnp.minimum(_squared_distances(small, small), _squared_distances(small, mirrored)) / small.shape[-1]
    equal = squared <= jnp.square(jnp.maximum(EQUAL * spread, IN_IMAGES if x.ndim == 4 else 0))
    return {
        "batch_distinct": jnp.mean(1 / jnp.maximum(jnp.sum(equal, axis=1), 1)),
        "batch_spread": per_value(small) / jnp.maximum(spread, 1e-12),
    }


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the squared distance between each row of x [B, F] and each of y [B, F]."""
    centre = x.mean(0)
    x, y = x - centre, y - centre
    products = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.sum(x * x, -1)[:, None] + jnp.sum(y * y, -1)[None] - 2 * products, 0)
