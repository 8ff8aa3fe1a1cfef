"""Samples beside their nearest training images, to detect copies."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.features import of_source
from biggan_jax.evaluation.networks import FeatureNetwork
from biggan_jax.tools.layout import Grid
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Params, UserError


class Space(NamedTuple):
    """A space with Euclidean distances. embed: (params, images uint8 [B, H, W, C]) to float32 [B, D]."""

    name: str
    params: Params
    embed: Callable[[Params, Image], jax.Array]


class Nearest(NamedTuple):
    """The nearest images of Q samples, nearest first, [Q, k] each: distance float32, number int32, if flipped bool."""

    distance: np.ndarray
    number: np.ndarray
    flipped: np.ndarray


def pixels() -> Space:
    """Measure distances as root mean square differences of pixel levels, 0 to 255."""
    return Space(
        "pixels", {}, lambda _, images: to_float(images).reshape(len(images), -1) * (127.5 / images[0].size ** 0.5)
    )


def features(network: FeatureNetwork) -> Space:
    """Measure distances between a network's features."""
    return Space(network.name, network.params, lambda params, images: network.apply(params, images).features)


def neighbours(
    samples: np.ndarray, rows: Sequence[str], source: Source, spaces: Sequence[Space], k: int, *, flip: bool = False
) -> Grid:
    """Draw one row per sample: the sample, then its k nearest images of the source in each space, with distances.

    samples: uint8 [Q, H, W, C]. rows: their labels. flip: also compare with horizontally flipped images, as is right if
    training flips them; a match is shown flipped.
    """
    found = nearest(spaces, samples, source, k, flip=flip)
    images, captions, columns = [samples[:, None]], [[""] for _ in samples], ["sample"]
    for space, near in zip(spaces, found, strict=True):
        shown = source.read(near.number.ravel().astype(np.int64), np.full(near.number.size, 0.5)).images
        shown = np.where(near.flipped.reshape(-1, 1, 1, 1), shown[:, :, ::-1], shown)
        images.append(shown.reshape(len(samples), k, *samples.shape[1:]))
        captions = [
            row + [f"{d:.2f}" for d in distances] for row, distances in zip(captions, near.distance, strict=True)
        ]
        columns += [f"nearest by {space.name}", *[""] * (k - 1)]
    breaks = [1 + i * k for i in range(len(spaces))]
    return Grid(np.concatenate(images, axis=1), rows, columns, captions, column_breaks=breaks)


def nearest(
    spaces: Sequence[Space], samples: np.ndarray, source: Source, k: int, *, flip: bool = False, batch_size: int = 64
) -> list[Nearest]:
    """Search all images of the source, each read once. Raises UserError if there are fewer than k."""
    if len(source) < k:
        raise UserError(
            f"{k} nearest images were asked for, but there are {len(source)} training images; lower --columns"
        )
    queries = np.stack([samples, samples[:, :, ::-1]] if flip else [samples])
    updates = [_make_update(space, queries, k) for space in spaces]
    none = Nearest(np.full((len(samples), k), np.inf, np.float32), *np.zeros((2, len(samples), k), np.int32))
    best = [none._replace(flipped=none.flipped.astype(bool)) for _ in spaces]
    start = 0
    for images, labels in of_source(source, np.arange(len(source)), batch_size):
        best = [update(near, images, start, len(labels)) for update, near in zip(updates, best, strict=True)]
        start += len(labels)
    return [Nearest(np.sqrt(near.distance), *map(np.asarray, near[1:])) for near in best]


def _make_update(space: Space, queries: np.ndarray, k: int) -> Callable:
    """Return a function that merges the nearest so far with a batch of images, of which the first `count` are not padding."""
    embed = jax.jit(space.embed)
    points = jnp.stack([embed(space.params, samples) for samples in queries])

    @jax.jit
    def update(params, points, best, images, start, count):
        x = space.embed(params, images)
        # Squares of differences, not |a|^2 + |b|^2 - 2ab, so that the distance of equal images is exactly 0.
        d = jnp.square(points[:, :, None] - x).sum(-1)
        d = jnp.where(jnp.arange(len(x)) < count, d, jnp.inf)
        numbers = jnp.broadcast_to(start + jnp.arange(len(x), dtype=jnp.int32), d.shape[1:])
        joined = jax.tree.map(
            lambda *parts: jnp.concatenate(parts, 1), best, Nearest(d.min(0), numbers, d.argmin(0) == 1)
        )
        _, chosen = jax.lax.top_k(-joined.distance, k)
        return jax.tree.map(lambda x: jnp.take_along_axis(x, chosen, 1), joined)

    return lambda best, images, start, count: update(
        space.params, points, best, images, np.int32(start), np.int32(count)
    )
