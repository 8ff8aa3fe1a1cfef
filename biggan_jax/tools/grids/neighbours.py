"""Samples beside their nearest training images, to detect copies."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.data.dataset import Source
from biggan_jax.data.picture import to_8_bits
from biggan_jax.evaluation.features import of_source
from biggan_jax.evaluation.networks import FeatureNetwork, Outputs
from biggan_jax.tools.layout import Grid
from biggan_jax.train_step import to_float
from biggan_jax.types import Array, Image, Params, UserError

Spaces = Sequence[FeatureNetwork]  # Their features, by which images are compared.


class Nearest(NamedTuple):
    """The nearest images of Q samples, nearest first, [Q, k] each: distance float32, number int32, if flipped bool."""

    distance: Array
    number: Array
    flipped: Array


def pixels() -> FeatureNetwork:
    """Return a network whose features are the pixels: distances are root mean square differences of levels, 0 to 255."""
    levels = lambda images: to_float(images).reshape(len(images), -1) * (127.5 / images[0].size ** 0.5)
    apply = lambda params, images: Outputs(levels(images), jnp.zeros((len(images), 0)))
    return FeatureNetwork("pixels", digest="", resizer="", note="", labels="", params={}, apply=apply)


def neighbours(
    samples: np.ndarray, rows: Sequence[str], source: Source, spaces: Spaces, k: int, *, flip: bool = False
) -> Grid:
    """Draw one row per sample: the sample, then its k nearest images of the source in each network's features.

    samples: uint8 [Q, H, W, C]. rows: their labels. flip: also compare with horizontally flipped images, as is right if
    training flips them; a match is shown flipped.
    """
    found = nearest(spaces, samples, source, k, flip=flip)
    images, captions, columns = [samples[:, None]], [[""] for _ in samples], ["sample"]
    for space, near in zip(spaces, found, strict=True):
        shown = source.read(np.asarray(near.number, np.int64).ravel(), np.full(near.number.size, 0.5)).images
        shown = to_8_bits(shown)
        shown = np.where(near.flipped.reshape(-1, 1, 1, 1), shown[:, :, ::-1], shown)
        images.append(shown.reshape(len(samples), k, *samples.shape[1:]))
        for row, distances in zip(captions, near.distance, strict=True):
            row.extend(f"{distance:.2f}" for distance in distances)
        columns += [f"nearest by {space.name}", *[""] * (k - 1)]
    breaks = [1 + i * k for i in range(len(spaces))]
    return Grid(np.concatenate(images, axis=1), rows, columns, captions, column_breaks=breaks)


def nearest(
    spaces: Spaces, samples: np.ndarray, source: Source, k: int, *, flip: bool = False, batch_size: int = 64
) -> list[Nearest]:
    """Search all images of the source, each read once. Raises UserError if there are fewer than k."""
    if len(source) < k:
        raise UserError(f"{k} nearest images were asked for, but there are {len(source)} in training; lower --columns")
    queries = np.stack([samples, samples[:, :, ::-1]] if flip else [samples])
    points = [jnp.stack([jax.jit(space.apply)(space.params, x).features for x in queries]) for space in spaces]
    shape = len(samples), k
    none = Nearest(np.full(shape, np.inf, np.float32), np.zeros(shape, np.int32), np.zeros(shape, bool))
    best, start = [none] * len(spaces), 0
    for images, labels in of_source(source, np.arange(len(source)), batch_size):
        best = [
            _merge(space.apply, space.params, x, near, images, start, len(labels))
            for space, x, near in zip(spaces, points, best, strict=True)
        ]
        start += len(labels)
    return [Nearest(np.sqrt(near.distance), *map(np.asarray, near[1:])) for near in best]


@functools.partial(jax.jit, static_argnums=0)
def _merge(apply: Callable, params: Params, points: jax.Array, best: Nearest, images: Image, start: int, count: int):
    """Merge the nearest so far with those of a batch, whose first image is number `start`; after `count`, it is padding."""
    x = apply(params, images).features
    # Squares of differences, not |a|^2 + |b|^2 - 2ab, so that the distance of equal images is exactly 0.
    d = jnp.square(points[:, :, None] - x).sum(-1)
    d = jnp.where(jnp.arange(len(x)) < count, d, jnp.inf)
    numbers = jnp.broadcast_to(start + jnp.arange(len(x), dtype=jnp.int32), d.shape[1:])
    found = Nearest(d.min(0), numbers, d.argmin(0) == 1)
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, 1), best, found)
    _, chosen = jax.lax.top_k(-joined.distance, best.distance.shape[1])
    return jax.tree.map(lambda x: jnp.take_along_axis(x, chosen, 1), joined)
