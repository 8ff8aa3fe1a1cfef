"""Owns the Kernel Inception Distance; must not know where features come from."""

from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError

SUBSETS, SUBSET_SIZE = 100, 1000


class KernelDistance(NamedTuple):
    """Mean and standard deviation over the subsets, and how many samples of each side were in each."""

    mean: float
    std: float
    subset_size: int


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 2020
) -> KernelDistance:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018) between features [N, D] and [M, D].

    It may be a little below zero. Subsets are drawn as torch-fidelity draws them. Where either side has fewer than
    `subset_size`, the subsets are of as many as it has, which the result says. Raises UserError if those are fewer than two.
    """
    size = min(subset_size, len(a), len(b))
    if size < 2:
        raise UserError(f"a kernel distance is between 2 or more samples on each side; one side has {size}")
    if size == len(a) == len(b):
        subsets = 1  # The whole of both each time.
    draws = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        # In this order, or the draws are others than torch-fidelity's.
        x = a[draws.choice(len(a), size, replace=False)]
        y = b[draws.choice(len(b), size, replace=False)]
        values.append(_between_others(x) + _between_others(y) - 2 * _kernel(x, y).mean(dtype=np.float64))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def _between_others(x: np.ndarray) -> float:
    """The kernel's mean over all pairs of two different samples."""
    values, n = _kernel(x, x), len(x)
    return (values.sum(dtype=np.float64) - np.trace(values, dtype=np.float64)) / (n * (n - 1))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # A power of arrays is far slower.
