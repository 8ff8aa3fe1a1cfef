"""The Kernel Inception Distance (Binkowski et al. 2018)."""

from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError

SUBSETS, SUBSET_SIZE = 100, 1000


class KernelDistance(NamedTuple):
    """Mean and standard deviation over subsets, and the number of samples of each side in a subset."""

    mean: float
    std: float
    subset_size: int


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 2020
) -> KernelDistance:
    """Estimate the squared MMD with the kernel (x.y / D + 1)^3 between features [N, D] and [M, D].

    The estimate is unbiased, so it may be slightly negative. Subsets are drawn as in torch-fidelity. They are smaller than
    `subset_size` if either side has fewer samples. Raises UserError if one side has fewer than two.
    """
    size = min(subset_size, len(a), len(b))
    if size < 2:
        raise UserError(f"a kernel distance needs 2 or more samples on each side; one side has {size}")
    if size == len(a) == len(b):
        subsets = 1  # Each subset is all samples.
    draws = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        # The order of the two draws is that of torch-fidelity.
        x = a[draws.choice(len(a), size, replace=False)]
        y = b[draws.choice(len(b), size, replace=False)]
        values.append(_between_others(x) + _between_others(y) - 2 * _kernel(x, y).mean(dtype=np.float64))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def _between_others(x: np.ndarray) -> float:
    """Average the kernel over all pairs of two different samples."""
    values, n = _kernel(x, x), len(x)
    return (values.sum(dtype=np.float64) - np.trace(values, dtype=np.float64)) / (n * (n - 1))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # Faster than base**3.
