"""Samples by seed: the image of a seed does not depend on the other seeds."""

from collections.abc import Sequence

import numpy as np

from biggan_jax.sampling.ranges import parse_range
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import UserError

MOST, LARGEST = 100_000, 2**31 - 1
"""Seeds of one command, and the largest of them."""


def parse_seeds(given: Sequence[str]) -> np.ndarray:
    """Parse --seeds, such as 0-35 or 3,8,100-110, to int64 [N], each seed once, in its order. Raises UserError."""
    what = f"--seeds={','.join(given)}"
    seeds: dict[int, None] = {}
    for text in given:
        numbers = parse_range(text)
        if numbers is None or numbers[-1] > LARGEST:
            raise UserError(f"{what}: {text!r} is no seed or range from 0 to {LARGEST}, such as 0-35 or 3,8,20-29")
        if len(seeds) + len(numbers) > MOST:
            raise UserError(f"{what} has more than {MOST:,} seeds; give fewer")
        seeds |= dict.fromkeys(numbers)
    return np.array(list(seeds), np.int64)


def latents_of(sampler: Sampler, seeds: np.ndarray) -> np.ndarray:
    """Draw one z per seed, float32 [N, dim_z]: that of `sampler.latents(1, seed)`."""
    return np.concatenate([sampler.latents(1, int(seed)) for seed in seeds])


def classes_of(seeds: np.ndarray, num_classes: int) -> np.ndarray:
    """Draw one class per seed, uniformly, int32 [N]; 0 for an unconditional model."""
    draw = lambda seed: np.random.default_rng(int(seed)).integers(max(num_classes, 1))
    return np.array([draw(seed) for seed in seeds], np.int32)
