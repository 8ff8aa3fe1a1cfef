"""Minibatch standard deviation: D sees how much the images of a group differ (Karras et al. 2018, section 3).

Difference: a group is consecutive images of the batch. The authors' code takes every (B / group)-th image; consecutive ones
are on one device if its part of the batch is a multiple of the group. The result does not depend on the mesh.
"""

import jax
import jax.numpy as jnp


def minibatch_stddev(x: jax.Array, group_size: int, features: int = 1, eps: float = 1e-8) -> jax.Array:
    """Append `features` channels to x [B, H, W, C], each constant within a group of images.

    Channel f is the mean, over pixels and the f-th of `features` equal parts of the channels, of sqrt(variance + eps) over a group.

    Args:
        group_size: images per group; 0, or more than B: all of the batch. It must divide B, `features` must divide C.
    """
    b, h, w, c = x.shape
    size = min(group_size or b, b)
    if b % size:
        raise ValueError(f"a batch of {b} images cannot be split in groups of {size}")
    groups = x.astype(jnp.float32).reshape(b // size, size, h, w, features, c // features)
    deviation = jnp.sqrt(jnp.var(groups, axis=1) + eps).mean((1, 2, 4))
    maps = jnp.broadcast_to(deviation[:, None, None, None], (b // size, size, h, w, features))
    return jnp.concatenate([x, maps.reshape(b, h, w, features).astype(x.dtype)], axis=-1)
