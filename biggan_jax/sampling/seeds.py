"""Samples by seed: the image of a seed does not depend on the other seeds."""

import numpy as np

from biggan_jax.sampling.sampler import Sampler


def latents_of(sampler: Sampler, seeds: np.ndarray) -> np.ndarray:
    """Draw one z per seed, float32 [N, dim_z]: that of `sampler.latents(1, seed)`."""
    return np.concatenate([sampler.latents(1, int(seed)) for seed in seeds])


def classes_of(seeds: np.ndarray, num_classes: int) -> np.ndarray:
    """Draw one class per seed, uniformly, int32 [N]; 0 for an unconditional model."""
    draw = lambda seed: np.random.default_rng(int(seed)).integers(max(num_classes, 1))
    return np.array([draw(seed) for seed in seeds], np.int32)
