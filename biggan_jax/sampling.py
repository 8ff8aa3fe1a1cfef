"""Owns drawing pictures from a trained G: truncation, standing statistics, images, grids. Must not know training."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from PIL import Image as PILImage

from biggan_jax.gan import GAN
from biggan_jax.types import Image, Label, Latent, Params


def truncated_normal(key: jax.Array, num: int, dim_z: int, truncation: float | None) -> Latent:
    """z [num, dim_z]: N(0, I), each entry drawn again while |z| > truncation; None draws once.

    The truncation trick of Brock et al. 2019, sec. 3.1. Drawing again until it fits is the normal distribution between
    the bounds, which is drawn directly here. Departs from Hugging Face and TF-Hub, which scale one truncated at 2.
    """
    if truncation is None:
        return jax.random.normal(key, (num, dim_z))
    return jax.random.truncated_normal(key, -truncation, truncation, (num, dim_z))


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: GAN, params: Params, u: Params) -> Params:
    """G's weights ready for sampling: normalised by one power step, whose new u is discarded, as in BigGAN-PyTorch."""
    return gan.normalize(params, u)[0]


def standing_statistics(
    gan: GAN, weights: Params, seed: int, *, truncation: float | None = None, passes: int = 100, batch_size: int = 64
) -> Params:
    """Batch-norm moments for sampling: batch moments averaged over `passes` of `batch_size` latents of that truncation.

    Brock et al. 2019, App. C: with them, an image does not depend on what else is in its batch.
    """
    total = None
    for i in range(passes):
        moments = _batch_moments(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation)
        total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    return jax.tree.map(lambda x: x / passes, total)


@functools.partial(jax.jit, static_argnums=(0, 4, 5))
def _batch_moments(gan: GAN, weights, seed, i, batch_size: int, truncation: float | None) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = truncated_normal(z_key, batch_size, gan.dim_z, truncation)
    y = jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1))
    # With momentum 0, what a training pass leaves behind are the moments of its batch alone.
    generator = gan.generator.clone(bn_momentum=0.0)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    _, moved = generator.apply({"params": weights, "batch_stats": zeros}, z, y, train=True, mutable=["batch_stats"])
    return moved["batch_stats"]


def generate(gan: GAN, weights: Params, batch_stats: Params, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Images float32 [N, H, W, 3] in [-1, 1] for z [N, dim_z] and y [N], made `batch_size` at a time: one compilation."""
    z, y = np.asarray(z), np.asarray(y)
    padding = -len(z) % batch_size
    z, y = (np.concatenate([a, np.repeat(a[-1:], padding, axis=0)]) for a in (z, y))
    images = [
        np.asarray(_images(gan.generator, weights, batch_stats, z[i : i + batch_size], y[i : i + batch_size]))
        for i in range(0, len(z), batch_size)
    ]
    return np.concatenate(images)[: len(z) - padding]


@functools.partial(jax.jit, static_argnums=0)
def _images(generator: nn.Module, weights: Params, batch_stats: Params, z: Latent, y: Label) -> Image:
    return generator.apply({"params": weights, "batch_stats": batch_stats}, z, y, train=False)


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
