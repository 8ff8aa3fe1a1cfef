"""Features of samples and of real images, extracted batch by batch over all devices."""

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax.data.captions import first_captions
from biggan_jax.data.dataset import Source
from biggan_jax.data.picture import to_8_bits
from biggan_jax.evaluation.folders import Pictures, pool
from biggan_jax.evaluation.networks import FeatureNetwork
from biggan_jax.runtime.progress import track
from biggan_jax.sampling.pictures import to_rgb, to_uint8
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sharding import constrain_batch, replicated
from biggan_jax.types import Label

logger = logging.getLogger(__name__)

_to_uint8 = jax.jit(to_uint8)

Batches = Iterable[tuple[np.ndarray | jax.Array, np.ndarray]]
"""Images uint8 [B, H, W, C], or resized ones in float32, of constant B, and labels int [n], or conditions [n, k].

The first n <= B images count, the rest is padding.
"""


class Features(NamedTuple):
    """What a network computes of n images: features float32 [n, D], logits float32 [n, K]; and their labels int [n].

    In place of labels there may be captions, int [n, L], or real numbers, float32 [n, k]. A network of captions has their
    embeddings, float32 [n, D], as logits.
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def extract(network: FeatureNetwork, batches: Batches, mesh: Mesh | None = None) -> Iterator[Features]:
    """Yield each batch's features, one batch late: the devices never wait. Over a mesh, B must be a multiple of its devices."""
    params, apply = _on(network, mesh)
    begun = ((apply(params, images), labels) for images, labels in batches)
    followed: Iterator[Any] = itertools.pairwise(itertools.chain(begun, [None]))
    for ((features, logits), labels), _ in followed:
        if network.texts is not None and labels.ndim == 2:
            logits = network.texts(network.params, labels)
        yield Features(np.asarray(features)[: len(labels)], np.asarray(logits)[: len(labels)], labels)


def concatenate(parts: Iterable[Features]) -> Features:
    """Join the features of several batches."""
    return Features(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def of_samples(
    sampler: Sampler, z: np.ndarray, y: Label, batch_size: int, network: FeatureNetwork | None = None
) -> Batches:
    """Generate samples for z [N, dim_z] and y [N] batch by batch, kept on the devices unless the network resizes on the host."""
    start = 0
    for images, count in sampler.batches(z, y, batch_size):
        yield _prepared(network, _to_uint8(images)), np.asarray(y[start : start + count])
        start += count


def of_source(source: Source, numbers: np.ndarray, batch_size: int, network: FeatureNetwork | None = None) -> Batches:
    """Read the source's images of these numbers, cropped to the centre, with their labels or first conditions.

    network: one that may resize on the host; pictures of any sizes need it. Otherwise images stay as they are.
    """
    starts = range(0, len(numbers), batch_size)
    for start in track(starts, "real images, by batches"):
        chosen = numbers[np.minimum(np.arange(start, start + batch_size), len(numbers) - 1)]
        if isinstance(source, Pictures):
            # Pictures of one size are resized on the device, unless the protocol resizes on the host.
            on_host = network is not None and (network.on_host or not source.one_shape)
            reading = source.read(chosen, prepare=network.prepare if network and on_host else None)
            yield reading.images, reading.labels[: len(numbers) - start]
            continue
        reading = source.read(chosen, np.full(batch_size, 0.5))
        for error in reading.unreadable:
            logger.warning("replaced by the next record: %s", error)
        yield _prepared(network, to_8_bits(reading.images)), first_captions(reading.labels)[: len(numbers) - start]


def _prepared(network: FeatureNetwork | None, images: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Resize uint8 [B, H, W, 1 or 3] on the host if the protocol says so."""
    if network is None or network.prepare is None or not network.on_host:
        return images
    return np.stack([*pool().map(network.prepare, to_rgb(np.asarray(images)))])


PIECE = 8
"""Images that a CPU takes at a time: what they become between layers then stays in its caches. 64 took 1.4 times as long."""


def in_pieces(apply: Callable) -> Callable:
    """Let a network that treats images independently take PIECE of a batch at a time, or fewer, all of one number."""

    def piecewise(params, images):
        images = np.asarray(images)
        size = -(-len(images) // -(-len(images) // PIECE))
        short = -len(images) % size
        padded = np.concatenate([images, np.repeat(images[-1:], short, axis=0)]) if short else images
        found = [apply(params, padded[start : start + size]) for start in range(0, len(padded), size)]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(images)], *found)

    return piecewise


@functools.lru_cache(maxsize=4)
def _on(network: FeatureNetwork, mesh: Mesh | None):
    """Place the weights and jit the network, once for all checkpoints."""
    if mesh is None or mesh.size == 1:
        apply = jax.jit(network.apply)
        devices = jax.devices() if mesh is None else list(mesh.devices.flat)
        return network.params, in_pieces(apply) if devices[0].platform == "cpu" else apply
    # Replicated outputs, so that every host can read them.
    split = lambda params, images: network.apply(params, constrain_batch(images, mesh))
    return jax.device_put(network.params, replicated(mesh)), jax.jit(split, out_shardings=replicated(mesh))
