"""Generate images in batches of one size."""

import functools
from collections.abc import Iterator

import jax
import numpy as np

from biggan_jax import sharding
from biggan_jax.family import Family
from biggan_jax.latents import Truncation, draw
from biggan_jax.layers.spectral import Vectors
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Image, Label, Latent, Params


def draw_latents(gan: Family, key: jax.Array, num: int, truncation: Truncation | None = None) -> Latent:
    """Draw z [num, dim_z] from the model's prior, with `truncation` if given."""
    return draw(gan.prior, key, num, gan.dim_z, truncation)


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: Family, params: Params, vectors: Vectors) -> Params:
    """Return the weights for sampling: normalised according to `gan.spectral_eval`, and replicated."""
    return gan.gather(gan.evaluation_weights(params, vectors))


def generate(gan: Family, weights: Params, variables: Params, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Generate images float32 [N, H, W, C] in [-1, 1] for z [N, dim_z] and y [N], `batch_size` at a time."""
    batches = batches_of(gan, z, y, batch_size)
    return np.concatenate([np.asarray(generate_batch(gan, weights, variables, *batch))[:n] for *batch, n in batches])


def batches_of(gan: Family, z: Latent, y: Label, batch_size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield (z, y, number of valid rows) in batches of one size; the last is padded with copies of its last row.

    The size is `batch_size` rounded up to a multiple of the devices of the model's mesh.
    """
    z, y = np.asarray(z), np.asarray(y)
    size = divisible(gan, batch_size)
    for start in range(0, len(z), size):
        rows = np.minimum(np.arange(start, start + size), len(z) - 1)
        yield z[rows], y[rows], min(size, len(z) - start)


@functools.partial(jax.jit, static_argnums=0)
def generate_batch(gan: Family, weights: Params, variables: Params, z: Latent, y: Label) -> Image:
    """Generate one batch of images, float32 in [-1, 1]: computed in shards over the mesh, then replicated.

    Args:
        weights: normalised, as `evaluation_weights` returns them.
        variables: such as {"batch_stats": ...}.
    """
    z, y = constrain_batch(z, gan.mesh), constrain_batch(y, gan.mesh)
    return gan.gather(gan.sample(weights, variables, z, y))


def divisible(gan: Family, batch_size: int) -> int:
    """Round `batch_size` up to a multiple of the number of devices of the model's mesh."""
    return sharding.divisible(batch_size, gan.mesh)
