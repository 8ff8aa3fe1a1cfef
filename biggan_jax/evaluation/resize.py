"""The bilinear resize of TensorFlow 1, the standard preprocessing for FID."""

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.types import Image


def tf1_bilinear(images: Image, size: int) -> jax.Array:
    """Resize [B, H, W, C] to float32 [B, size, size, C], in the units of `images`.

    As tf.image.resize_bilinear with align_corners=False: pixel i samples the source at i * H / size, without the half-pixel
    offset of centres, and without antialiasing. jax.image.resize differs in both, which changes FID (Parmar et al. 2022).
    """
    return _along(_along(jnp.asarray(images, jnp.float32), 2, size), 1, size)


def _along(x: jax.Array, axis: int, size: int) -> jax.Array:
    length = x.shape[axis]
    # In float32, as in TensorFlow: the lower pixel depends on the rounding.
    source = np.arange(size, dtype=np.float32) * np.float32(length / size)
    low = np.floor(source).astype(np.int32)
    share = (source - low.astype(np.float32)).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    here, beyond = (jnp.take(x, i, axis) for i in (low, np.minimum(low + 1, length - 1)))
    return here + (beyond - here) * share
