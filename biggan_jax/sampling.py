"""Owns drawing pictures from a trained G: latents, batch-norm moments for sampling, images, grids. Must not know training."""

import functools
import io
import math
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from PIL import Image as PILImage

from biggan_jax import sharding
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation, draw
from biggan_jax.layers.spectral import Vectors
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Arrays, Image, Label, Latent, Params

STANDING_BATCH = 64
"""Latents a pass of standing statistics."""


def draw_latents(gan: GAN, key: jax.Array, num: int, truncation: Truncation | None = None) -> Latent:
    """z [num, dim_z] of the game's prior, truncated if asked for."""
    return draw(gan.prior, key, num, gan.dim_z, truncation)


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: GAN, params: Params, vectors: Vectors) -> Params:
    """G's weights ready for sampling, normalised as the game's `spectral_eval` says; whole on every device of its mesh."""
    return gan.gather(gan.evaluation_weights(params, vectors))


def standing_statistics(
    gan: GAN,
    weights: Params,
    seed: int,
    *,
    truncation: Truncation | None = None,
    passes: int = 100,
    batch_size: int = STANDING_BATCH,
    track: Callable[[range], Iterable[int]] = iter,
) -> Params:
    """Batch-norm moments for sampling: batch moments averaged over `passes` of `batch_size` latents, as `draw_latents` makes them.

    Brock et al. 2019, App. C: with them, an image does not depend on what else is in its batch. The work is divided over
    the game's mesh, for which `batch_size` is rounded up to a multiple of its devices. track: shows how far it is.
    """
    total = None
    batch_size = divisible(gan, batch_size)
    for i in track(range(passes)):
        moments = _batch_moments(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation)
        # No pass waits for another's result, so that with many in flight the hosts' CPU devices may meet in different ones.
        jax.block_until_ready(moments)
        total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    return jax.tree.map(lambda x: x / passes, total)


def binned_statistics(bins: Params, truncation: float, *, swapped: bool = False) -> Params:
    """Batch-norm moments for one truncation in [0, 1], between the two nearest of those measured.

    `bins`: moments [bins, C], measured at truncations 0 ... 1 in equal steps, as the released BigGAN-deep models carry.
    `swapped` weighs the two as Hugging Face's code does, the nearer one less: for parity with its images only.
    """
    count = len(jax.tree.leaves(bins)[0])
    step = 1.0 / (count - 1)
    share, low = math.modf(truncation / step)
    low, high = int(low), min(int(low) + 1, count - 1)
    if swapped and share:
        share = 1 - share
    return jax.tree.map(lambda rows: rows[low] * np.float32(1 - share) + rows[high] * np.float32(share), bins)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _batch_moments(gan: GAN, weights, seed, i, batch_size: int, truncation: Truncation | None) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = constrain_batch(draw_latents(gan, z_key, batch_size, truncation), gan.mesh)
    y = constrain_batch(jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1)), gan.mesh)
    # With momentum 0, what a training pass leaves behind are the moments of its batch alone.
    generator = gan.generator.clone(bn_momentum=0.0)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    _, moved = generator.apply({"params": weights, "batch_stats": zeros}, z, y, train=True, mutable=["batch_stats"])
    return gan.gather(moved["batch_stats"])


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


def to_uint8(images: Arrays) -> Arrays:
    """[-1, 1] to [0, 255], rounded; on the host, or, under jit, on the devices.

    >>> to_uint8(np.array([-1.0, 0.0, 0.999, 7.0]))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    xp = jnp if isinstance(images, jax.Array) else np
    return xp.rint((xp.clip(images, -1, 1) + 1) * 127.5).astype(xp.uint8)


def rows_of_classes(num_classes: int, rows: int = 10) -> np.ndarray:
    """Up to `rows` classes spread evenly over all, for a grid with one row a class; [0] if unconditional.

    >>> rows_of_classes(1000, rows=4)
    array([  0, 333, 666, 999], dtype=int32)
    """
    return np.unique(np.linspace(0, max(num_classes, 1) - 1, min(max(num_classes, 1), rows)).round().astype(np.int32))


def grid(images: np.ndarray, columns: int, margin: int = 2) -> np.ndarray:
    """uint8 [N, H, W, 3] laid out row by row on white, missing ones left white: uint8 [H', W', 3]."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + margin) + margin, columns * (w + margin) + margin, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = margin + i // columns * (h + margin), margin + i % columns * (w + margin)
        sheet[top : top + h, left : left + w] = image
    return sheet


def save_png(path: epath.PathLike, sheet: np.ndarray, least_width: int = 512) -> None:
    """Writes uint8 [H, W, 3]; small sheets are enlarged by whole factors, so that single pixels can be seen."""
    epath.Path(path).write_bytes(png(enlarged(sheet, least_width)))


def enlarged(sheet: np.ndarray, least_width: int = 512) -> np.ndarray:
    """uint8 [H, W, 3], by the largest whole factor with which it is no wider than `least_width`; never shrunk."""
    factor = max(1, least_width // sheet.shape[1])
    return sheet.repeat(factor, axis=0).repeat(factor, axis=1)


def png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    PILImage.fromarray(image).save(file, format="png")
    return file.getvalue()
