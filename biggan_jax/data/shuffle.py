"""Owns the order of images: a pure function of (seed, attempt, position), so that a resumed run reads on where it stopped.

It must not know images. Nothing here depends on how many images there are, neither time nor memory, nor on the version of
a library: 300 million are shuffled as fast as 300, and a run goes on in the same order after an upgrade.
"""

import numpy as np

ROUNDS = 6
"""Of the Feistel network: four make a pseudorandom permutation (Luby and Rackoff 1988), two more cost nothing that shows."""


def indices(size: int, seed: int, attempt: int, start: int, count: int) -> np.ndarray:
    """Which of `size` images stand at positions start ... start + count - 1 of the endless stream, int64 [count].

    The stream is one shuffle of all images after another: each image is seen once an epoch.

    >>> indices(5, seed=0, attempt=0, start=0, count=10).tolist()
    [3, 1, 2, 4, 0, 3, 4, 2, 1, 0]
    >>> indices(5, seed=0, attempt=0, start=3, count=4).tolist()  # Wherever one begins, it is the same stream.
    [4, 0, 3, 4]
    """
    positions = np.arange(start, start + count)
    epochs = positions // size
    chosen = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        chosen[here] = _shuffled(positions[here] % size, size, _salts(seed, attempt, 0, int(epoch), count=ROUNDS))
    return chosen


def mirrored(seed: int, attempt: int, start: int, count: int) -> np.ndarray:
    """Which of the images at those positions are to be mirrored: bool [count], half of them true on average."""
    return (_hashes(seed, attempt, 1, start, count) & np.uint64(1)).astype(bool)


def across(seed: int, attempt: int, start: int, count: int) -> np.ndarray:
    """Where the images at those positions are to be cropped, evenly drawn: float64 [count], 0 up to 1."""
    return (_hashes(seed, attempt, 2, start, count) >> np.uint64(11)) / 2.0**53


def _shuffled(positions: np.ndarray, size: int, salts: np.ndarray) -> np.ndarray:
    """A permutation of 0 ... size - 1, at those positions: a Feistel network, walked until it is back in the range."""
    half = np.uint64((int(size - 1).bit_length() + 1) // 2 or 1)
    mask = (np.uint64(1) << half) - np.uint64(1)
    places = positions.astype(np.uint64)
    out = np.ones(len(places), bool)
    while out.any():
        left, right = places[out] >> half, places[out] & mask
        for salt in salts:
            left, right = right, left ^ (_mixed(right + salt) & mask)
        places[out] = (left << half) | right
        out = places >= np.uint64(size)
    return places.astype(np.int64)


def _hashes(seed: int, attempt: int, purpose: int, start: int, count: int) -> np.ndarray:
    """64 random bits for each position by itself, so that any part of the stream can be had without what precedes it."""
    return _mixed(np.arange(start, start + count, dtype=np.uint64) + _salts(seed, attempt, purpose, count=1))


def _salts(*key: int, count: int) -> np.ndarray:
    return np.random.SeedSequence(key).generate_state(count, np.uint64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): each bit of the result hangs on each of x."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
