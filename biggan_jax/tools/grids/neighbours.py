"""Owns samples beside the training images that are nearest to them: is G copying? Must not know where either come from."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.features import of_source
from biggan_jax.evaluation.networks import FeatureNetwork
from biggan_jax.tools.grids.layout import Sheet
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Params, UserError


class Space(NamedTuple):
    """Where distances are Euclidean ones. place: (params, images uint8 [B, H, W, 3]) to float32 [B, D]."""

    name: str
    params: Params
    place: Callable[[Params, Image], jax.Array]


class Nearest(NamedTuple):
    """To each of Q samples, the nearest first, [Q, k] each: distance float32, which image int32, whether mirrored bool."""

    distance: np.ndarray
    number: np.ndarray
    mirrored: np.ndarray


def pixels() -> Space:
    """Distances are root mean square differences of levels, 0 to 255."""
    return Space(
        "pixels", {}, lambda _, images: to_float(images).reshape(len(images), -1) * (127.5 / images[0].size ** 0.5)
    )


def features(network: FeatureNetwork) -> Space:
    """Distances are those of the network's features."""
    return Space(network.name, network.params, lambda params, images: network.apply(params, images).features)


def neighbours(
    samples: np.ndarray, rows: Sequence[str], source: Source, spaces: Sequence[Space], k: int, *, mirror: bool = False
) -> Sheet:
    """A row a sample, then its k nearest images of the source in each space, with the distances under them.

    samples: uint8 [Q, H, W, 3], in words: rows. mirror: images count as near where their mirror image is, as is right where
    training mirrors them, and are shown so.
    """
    found = nearest(spaces, samples, source, k, mirror=mirror)
    images, captions, columns = [samples[:, None]], [[""] for _ in samples], ["sample"]
    for space, near in zip(spaces, found, strict=True):
        shown = source.read(near.number.ravel().astype(np.int64), np.full(near.number.size, 0.5)).images
        shown = np.where(near.mirrored.reshape(-1, 1, 1, 1), shown[:, :, ::-1], shown)
        images.append(shown.reshape(len(samples), k, *samples.shape[1:]))
        captions = [
            row + [f"{d:.2f}" for d in distances] for row, distances in zip(captions, near.distance, strict=True)
        ]
        columns += [f"nearest by {space.name}", *[""] * (k - 1)]
    breaks = [1 + i * k for i in range(len(spaces))]
    return Sheet(np.concatenate(images, axis=1), rows, columns, captions, column_breaks=breaks)


def nearest(
    spaces: Sequence[Space], samples: np.ndarray, source: Source, k: int, *, mirror: bool = False, batch_size: int = 64
) -> list[Nearest]:
    """The nearest of all images of the source, which are read once, a batch at a time. Raises UserError for fewer than k."""
    if len(source) < k:
        raise UserError(f"of {len(source)} training images there are no {k} nearest; give fewer --columns")
    asked = np.stack([samples, samples[:, :, ::-1]] if mirror else [samples])
    looks = [_look(space, asked, k) for space in spaces]
    none = (
        np.full((len(samples), k), np.inf, np.float32),
        np.zeros((len(samples), k), np.int32),
        np.zeros((len(samples), k), bool),
    )
    best = [Nearest(*none) for _ in spaces]
    start = 0
    for images, labels in of_source(source, np.arange(len(source)), batch_size):
        best = [look(near, images, start, len(labels)) for look, near in zip(looks, best, strict=True)]
        start += len(labels)
    return [Nearest(np.sqrt(near.distance), *map(np.asarray, near[1:])) for near in best]


def _look(space: Space, asked: np.ndarray, k: int) -> Callable:
    """A function that merges what is nearest so far with a batch of images, of which `count` count, numbered from `start`."""
    place = jax.jit(space.place)
    places = jnp.stack([place(space.params, one) for one in asked])

    @jax.jit
    def look(params, places, best, images, start, count):
        x = space.place(params, images)
        # Differences are squared, not |a|^2 + |b|^2 - 2ab: what is equal is then 0 apart.
        d = jnp.square(places[:, :, None] - x).sum(-1)
        d = jnp.where(jnp.arange(len(x)) < count, d, jnp.inf)
        numbers = jnp.broadcast_to(start + jnp.arange(len(x), dtype=jnp.int32), d.shape[1:])
        joined = jax.tree.map(
            lambda *parts: jnp.concatenate(parts, 1), best, Nearest(d.min(0), numbers, d.argmin(0) == 1)
        )
        _, chosen = jax.lax.top_k(-joined.distance, k)
        return jax.tree.map(lambda x: jnp.take_along_axis(x, chosen, 1), joined)

    return lambda best, images, start, count: look(space.params, places, best, images, np.int32(start), np.int32(count))
