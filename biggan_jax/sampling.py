"""Owns drawing pictures from a trained G: latents, batch-norm moments for sampling, images, grids. Must not know training."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from PIL import Image as PILImage

from biggan_jax.gan import GAN
from biggan_jax.latents import draw, draw_truncated
from biggan_jax.layers.spectral import Vectors
from biggan_jax.types import Image, Label, Latent, Params, UserError


def draw_latents(
    gan: GAN, key: jax.Array, num: int, truncation: float | None = None, *, scaled: bool = False
) -> Latent:
    """z [num, dim_z] of the game's prior; with a truncation, of the truncated normal (see latents.draw_truncated)."""
    if truncation is None:
        return draw(gan.prior, key, num, gan.dim_z)
    if gan.prior != "normal":
        raise UserError(f"truncation is defined for model.prior normal; this model's is {gan.prior}")
    return draw_truncated(key, num, gan.dim_z, truncation, scaled=scaled)


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: GAN, params: Params, vectors: Vectors) -> Params:
    """G's weights ready for sampling, normalised as the game's `spectral_eval` says; whole on every device of its mesh."""
    return gan.gather(gan.evaluation_weights(params, vectors))


def standing_statistics(
    gan: GAN,
    weights: Params,
    seed: int,
    *,
    truncation: float | None = None,
    scaled: bool = False,
    passes: int = 100,
    batch_size: int = 64,
) -> Params:
    """Batch-norm moments for sampling: batch moments averaged over `passes` of `batch_size` latents, as `draw_latents` makes them.

    Brock et al. 2019, App. C: with them, an image does not depend on what else is in its batch.
    """
    total = None
    truncation = None if truncation is None else np.float32(truncation)  # Traced: one compilation for all truncations.
    for i in range(passes):
        moments = _batch_moments(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation, scaled)
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


@functools.partial(jax.jit, static_argnums=(0, 4, 6))
def _batch_moments(gan: GAN, weights, seed, i, batch_size: int, truncation: np.float32 | None, scaled: bool) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = draw_latents(gan, z_key, batch_size, truncation, scaled=scaled)
    y = jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1))
    # With momentum 0, what a training pass leaves behind are the moments of its batch alone.
    generator = gan.generator.clone(bn_momentum=0.0)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    _, moved = generator.apply({"params": weights, "batch_stats": zeros}, z, y, train=True, mutable=["batch_stats"])
    return gan.gather(moved["batch_stats"])


def generate(gan: GAN, weights: Params, batch_stats: Params, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Images float32 [N, H, W, 3] in [-1, 1] for z [N, dim_z] and y [N], made `batch_size` at a time: one compilation."""
    z, y = np.asarray(z), np.asarray(y)
    padding = -len(z) % batch_size
    z, y = (np.concatenate([a, np.repeat(a[-1:], padding, axis=0)]) for a in (z, y))
    images = [
        np.asarray(_images(gan, weights, batch_stats, z[i : i + batch_size], y[i : i + batch_size]))
        for i in range(0, len(z), batch_size)
    ]
    return np.concatenate(images)[: len(z) - padding]


@functools.partial(jax.jit, static_argnums=0)
def _images(gan: GAN, weights: Params, batch_stats: Params, z: Latent, y: Label) -> Image:
    # Whole on every device, hence on every host.
    return gan.gather(gan.generator.apply({"params": weights, "batch_stats": batch_stats}, z, y, train=False))


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to [0, 255], rounded."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def rows_of_classes(num_classes: int, rows: int = 10) -> np.ndarray:
    """Up to `rows` classes spread evenly over all, for a grid with one row a class; [0] if unconditional."""
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
    factor = max(1, least_width // sheet.shape[1])
    sheet = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    with epath.Path(path).open("wb") as file:
        PILImage.fromarray(sheet).save(file, format="png")
