"""Owns drawing pictures from a trained G: latents, batch-norm moments for sampling, images, grids. Must not know training."""

import functools
from collections.abc import Iterator
from typing import cast

import jax
import numpy as np

from biggan_jax import sharding
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation, draw
from biggan_jax.layers.spectral import Vectors
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Image, Label, Latent, Params


def draw_latents(gan: GAN, key: jax.Array, num: int, truncation: Truncation | None = None) -> Latent:
    """z [num, dim_z] of the game's prior, truncated if asked for."""
    return draw(gan.prior, key, num, gan.dim_z, truncation)


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: GAN, params: Params, vectors: Vectors) -> Params:
    """G's weights ready for sampling, normalised as the game's `spectral_eval` says; whole on every device of its mesh."""
    return gan.gather(gan.evaluation_weights(params, vectors))


def generate(gan: GAN, weights: Params, batch_stats: Params, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Images float32 [N, H, W, 3] in [-1, 1] for z [N, dim_z] and y [N], made `batch_size` at a time: one compilation."""
    batches = batches_of(gan, z, y, batch_size)
    return np.concatenate([np.asarray(images(gan, weights, batch_stats, *batch))[:n] for *batch, n in batches])


def batches_of(gan: GAN, z: Latent, y: Label, batch_size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """z and y in batches of one size, the last filled up by repetition, each with how many of it count.

    The size is `batch_size`, rounded up to a multiple of the devices of the game's mesh.
    """
    z, y = np.asarray(z), np.asarray(y)
    size = divisible(gan, batch_size)
    for start in range(0, len(z), size):
        rows = np.minimum(np.arange(start, start + size), len(z) - 1)
        yield z[rows], y[rows], min(size, len(z) - start)


@functools.partial(jax.jit, static_argnums=0)
def images(gan: GAN, weights: Params, batch_stats: Params, z: Latent, y: Label) -> Image:
    """G's images of one batch, float32 in [-1, 1]: made in parts over the game's mesh, then whole on every device, hence host."""
    z, y = constrain_batch(z, gan.mesh), constrain_batch(y, gan.mesh)
    made = gan.generator.apply({"params": weights, "batch_stats": batch_stats}, z, y, train=False)
    return gan.gather(cast(Image, made))


def divisible(gan: GAN, batch_size: int) -> int:
    """`batch_size`, rounded up to a multiple of the devices of the game's mesh."""
    return sharding.divisible(batch_size, gan.mesh)
