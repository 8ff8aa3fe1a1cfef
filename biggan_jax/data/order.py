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


@functools.lru_cache(maxsize=2)
def _shuffle(size: int, seed: int, attempt: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, attempt, epoch)).permutation(size)
