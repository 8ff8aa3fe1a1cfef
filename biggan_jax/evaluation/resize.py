"""Owns the bilinear resize of TensorFlow 1, through which Inception has always been shown images. Must not know any network."""

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.types import Image


def tf1_bilinear(images: Image, size: int) -> jax.Array:
    """[B, H, W, C] to float32 [B, size, size, C], in the units of `images`.

    As tf.image.resize_bilinear was with align_corners=False: pixel i lies at i * H / size of the source, not half a pixel
    further as its centre does, and where images become smaller nothing is averaged. jax.image.resize does both otherwise,
    and FIDs through it are other numbers (Parmar et al. 2022).
    """
    return _along(_along(jnp.asarray(images, jnp.float32), 2, size), 1, size)


def _along(x: jax.Array, axis: int, size: int) -> jax.Array:
    length = x.shape[axis]
    # In float32, as there: which pixel is the lower one hangs on the rounding.
    source = np.arange(size, dtype=np.float32) * np.float32(length / size)
    low = np.floor(source).astype(np.int32)
    share = (source - low.astype(np.float32)).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    here, beyond = (jnp.take(x, i, axis) for i in (low, np.minimum(low + 1, length - 1)))
    return here + (beyond - here) * share
