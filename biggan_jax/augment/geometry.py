"""Resample images by affine maps, in doubled resolution so that little detail is lost (Karras et al. 2020, App. B)."""

import jax
import jax.numpy as jnp

from biggan_jax.augment.filters import TAIL, downsampling, upsampling
from biggan_jax.types import Array, Image


def resample(x: Image, inverse: jax.Array) -> Image:
    """Return images whose pixel at position q is that of x at `inverse` q; x continues by one reflection at each edge.

    Args:
        x: [B, H, W, C].
        inverse: [B, 3, 3], affine maps of homogeneous positions (x to the right, y down, 1) in pixels from the centre.
    """
    height, width = x.shape[1:3]
    doubled = _by_axes(x, upsampling(height, height - 1), upsampling(width, width - 1))
    # Positions in the doubled image, half a pixel from its centre, where the middle of the filter lies.
    right, down = (jnp.arange(2 * n + 4 * TAIL) - (n + 2 * TAIL) + 1.0 for n in (width, height))
    a = inverse[:, :2, :, None, None]
    rows, columns = (a[:, i, 0] * right + a[:, i, 1] * down[:, None] + 2 * a[:, i, 2] for i in (1, 0))
    y = bilinear(doubled, rows + doubled.shape[1] / 2 - 1, columns + doubled.shape[2] / 2 - 1)
    return _by_axes(y, downsampling(height), downsampling(width))


def bilinear(x: Image, rows: jax.Array, columns: jax.Array) -> Image:
    """Return x [B, H, W, C] at real positions [B, H', W'] of rows and columns; beyond an edge, x at the edge."""
    height, width = x.shape[1:3]
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.minimum(jnp.floor(rows), height - 2), jnp.minimum(jnp.floor(columns), width - 2)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    first, pixels = (top * width + left).astype(jnp.int32), x.reshape(len(x), -1, x.shape[-1])
    at = lambda step: jax.vmap(lambda image, i: image.at[i].get(mode="promise_in_bounds"))(pixels, first + step)
    upper = at(0) * (1 - right) + at(1) * right
    lower = at(width) * (1 - right) + at(width + 1) * right
    return upper * (1 - down) + lower * down


def _by_axes(x: Image, of_rows: Array, of_columns: Array) -> jax.Array:
    """Multiply the images' two axes by matrices."""
    x = jnp.einsum("yi,bijc->byjc", of_rows, x, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("xj,byjc->byxc", of_columns, x, precision=jax.lax.Precision.HIGHEST)
