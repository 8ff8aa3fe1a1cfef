"""Order, flips and crops of images, as pure functions of (seed, attempt, position).

A resumed run therefore continues at any position, and all hosts agree. No permutation is stored: time and memory do not depend
on the number of images. The hashes and the Feistel network are written out here, so that upgrading a library changes nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import logging as absl_logging


def indices(
    size: int, seed: int, attempt: int, positions: np.ndarray, order: str, stream: tuple[int, ...] = (0,)
) -> np.ndarray:
    """Return the image, 0 to size - 1, at each position of an endless stream, int64 [N].

    The stream is one permutation of all images after another: each image is seen once an epoch. order: as config data.order.
    stream: numbers of this stream, which differ from those of other random draws.

    >>> indices(5, 0, 0, np.arange(10), "feistel").tolist()
    [3, 1, 2, 4, 0, 3, 4, 2, 1, 0]
    >>> indices(5, 0, 0, np.arange(3, 7), "feistel").tolist()  # The stream is the same from any position.
    [4, 0, 3, 4]
    """
    epochs, places = np.divmod(positions, size)
    chosen = np.empty(len(positions), np.int64)
    for epoch in np.unique(epochs).tolist():
        now = epochs == epoch
        chosen[now] = ORDERS[order](places[now], size, (seed, attempt, *stream, epoch))
    return chosen


def flip(seed: int, attempt: int, positions: np.ndarray) -> np.ndarray:
    """Return which of the images at those positions are mirrored: bool [N], true for half of them on average."""
    return (hashes((seed, attempt, 1), positions) & np.uint64(1)).astype(bool)


def crop_offset(seed: int, attempt: int, positions: np.ndarray) -> np.ndarray:
    """Return where the images at those positions are cropped along the longer edge: float64 [N], uniform in [0, 1)."""
    return (hashes((seed, attempt, 2), positions) >> np.uint64(11)) / 2.0**53


@functools.cache
def import_grain() -> Any:
    """Import Grain without its warning, where jax is older than 0.11, that worker processes cannot be profiled."""
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    import grain
    import grain.experimental

    absl_logging.set_verbosity(verbosity)
    return grain


def _grain(places: np.ndarray, size: int, key: tuple[int, ...]) -> list[int]:
    """Permute by Grain's index_shuffle, a block cipher. 5 us an image; below 65,536 images 30 ms an epoch."""
    index_shuffle = import_grain().experimental.index_shuffle
    seed = int(np.random.SeedSequence(key).generate_state(1)[0])
    return [index_shuffle(place, max_index=size - 1, seed=seed, rounds=4) for place in places.tolist()]


def _feistel(places: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Permute by six steps of a Feistel network (Luby and Rackoff 1988: four do), repeated until the result is in range."""
    half = np.uint64((int(size - 1).bit_length() + 1) // 2 or 1)
    mask = (np.uint64(1) << half) - np.uint64(1)
    places = places.astype(np.uint64)
    out = np.ones(len(places), bool)
    while out.any():
        left, right = places[out] >> half, places[out] & mask
        for salt in np.random.SeedSequence(key).generate_state(6, np.uint64):
            left, right = right, left ^ (_mix(right + salt) & mask)
        places[out] = (left << half) | right
        out = places >= np.uint64(size)
    return places.astype(np.int64)


ORDERS: dict[str, Callable] = {"grain": _grain, "feistel": _feistel}


def hashes(key: tuple[int, ...], positions: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each position, independent of all others."""
    return _mix(positions.astype(np.uint64) + np.random.SeedSequence(key).generate_state(1, np.uint64))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit of x."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
