"""Owns the order of images: a pure function of (seed, attempt, position), so that a resumed run reads on where it stopped.

It must not know images.
"""

import functools

import numpy as np


def indices(size: int, seed: int, attempt: int, start: int, count: int) -> np.ndarray:
    """Which of `size` images stand at positions start ... start + count - 1 of the endless stream, int64 [count].

    The stream is one shuffle of all images after another: each image is seen once an epoch.
    """
    positions = np.arange(start, start + count)
    epochs = positions // size
    chosen = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        chosen[here] = _shuffle(size, seed, attempt, int(epoch))[positions[here] % size]
    return chosen


def mirrored(seed: int, attempt: int, start: int, count: int) -> np.ndarray:
    """Which of the images at those positions are to be mirrored: bool [count], half of them true on average."""
    positions = np.arange(start, start + count, dtype=np.uint64)
    # A hash of each position by itself, so that any part of the stream can be had without what precedes it.
    salt = np.random.SeedSequence((seed, attempt, 1)).generate_state(1, np.uint64)
    x = (positions + salt) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) & np.uint64(1)).astype(bool)


@functools.lru_cache(maxsize=2)
def _shuffle(size: int, seed: int, attempt: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, attempt, epoch)).permutation(size)
