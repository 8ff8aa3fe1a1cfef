"""Kernel distances beyond KID: CMMD's Gaussian kernel, and an interval of the kernel distance by bootstrap."""

import numpy as np

from biggan_jax.evaluation.formulas import polynomial_kernel
from biggan_jax.types import UserError

SIGMA, SCALE = 10.0, 1000.0
"""Width of CMMD's kernel, and its factor (Jayasumana et al. 2024)."""

LARGEST, RESAMPLES, LEVEL = 5_000, 1_000, 0.95
"""Features of each side, drawings, and coverage of an interval of the kernel distance."""


def cmmd(a: np.ndarray, b: np.ndarray, rows: int = 2048) -> float:
    """Compute the squared MMD between features [N, D] and [M, D] of length 1, with a Gaussian kernel, times 1000.

    As CMMD's code: the biased estimate, so at least 0. rows: of a block, which bounds memory. Raises UserError without features.
    """
    if not len(a) or not len(b):
        raise UserError("a kernel distance needs samples on each side; one side has none")
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.astype(np.float64), b.astype(np.float64)))
    return SCALE * (_mean(a, a, rows) + _mean(b, b, rows) - 2 * _mean(a, b, rows))


def _mean(a: np.ndarray, b: np.ndarray, rows: int) -> float:
    """Average exp(-|x - y|^2 / (2 sigma^2)) over all pairs."""
    total = 0.0
    for start in range(0, len(a), rows):
        part = a[start : start + rows]
        squared = (part * part).sum(1)[:, None] + (b * b).sum(1) - 2 * part @ b.T
        total += np.exp(squared / (-2 * SIGMA**2)).sum()
    return total / (len(a) * len(b))


def kernel_interval(
    a: np.ndarray, b: np.ndarray, *, resamples: int = RESAMPLES, largest: int = LARGEST, seed: int = 2020
) -> tuple[float, float]:
    """Return the interval of the kernel distance (KID's kernel) between features [N, D] and [M, D], by percentiles of a bootstrap.

    Both sides are resampled. Pairs of a sample with its own copy are left out, as the unbiased estimate leaves out pairs of a
    sample with itself. largest: features that are used of each side. Raises UserError if one side has fewer than two.
    """
    draws = np.random.default_rng(seed)
    a, b = (x if len(x) <= largest else x[draws.choice(len(x), largest, replace=False)] for x in (a, b))
    if min(len(a), len(b)) < 2:
        raise UserError(f"a kernel distance needs 2 or more samples on each side; one side has {min(len(a), len(b))}")
    within_a, within_b, between = polynomial_kernel(a, a), polynomial_kernel(b, b), polynomial_kernel(a, b)
    np.fill_diagonal(within_a, 0)
    np.fill_diagonal(within_b, 0)
    weights_a, weights_b = (draws.multinomial(len(x), np.full(len(x), 1 / len(x)), resamples) for x in (a, b))
    wa, wb = weights_a.astype(np.float32), weights_b.astype(np.float32)
    values = _pairs(wa, within_a) + _pairs(wb, within_b)
    values -= 2 * ((wa @ between) * wb).sum(1, dtype=np.float64) / (len(a) * len(b))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _pairs(weights: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Average the kernel, of diagonal 0, over pairs of different samples with these weights [resamples, N]."""
    squares = (weights.astype(np.float64) ** 2).sum(1)
    return ((weights @ kernel) * weights).sum(1, dtype=np.float64) / (weights.sum(1, dtype=np.float64) ** 2 - squares)
