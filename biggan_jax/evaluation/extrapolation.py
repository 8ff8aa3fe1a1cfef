"""The Frechet distance without the bias of few samples (by extrapolation), and its interval by bootstrap."""

from collections.abc import Callable

import numpy as np

from biggan_jax.evaluation.formulas import Moments, covariance_root, moments
from biggan_jax.types import UserError

POINTS, SMALLEST = 15, 5_000
"""Numbers of samples that the line is fitted to, and the smallest of them, as in the paper's code and in dgm-eval."""

RESAMPLES, NORMAL = 30, 1.96
"""Drawings of an interval, and its half width in standard errors: 95 %."""


def distance_to(real: Moments) -> Callable[[np.ndarray], float]:
    """Return the Frechet distance to `real` as a function of features [N, D]; the root of its covariance is computed once."""
    root, trace = covariance_root(real.covariance), np.trace(real.covariance)

    def distance(x: np.ndarray) -> float:
        if len(x) < root.shape[0]:  # Singular values of few rows instead of eigenvalues of a whole covariance.
            mean = x.mean(0, dtype=np.float64)
            centred = (x - mean) / np.sqrt(len(x) - 1)
            cross, own = np.linalg.svd(centred @ root, compute_uv=False).sum(), (centred * centred).sum()
        else:
            _, mean, covariance = moments([x])
            values = np.linalg.eigvalsh(root.T @ covariance @ root)
            cross, own = np.sqrt(np.maximum(values, 0)).sum(), np.trace(covariance)
        apart = mean - real.mean
        return float(apart @ apart + own + trace - 2 * cross)

    return distance


def frechet_infinity(x: np.ndarray, real: Moments, *, points: int = POINTS, seed: int = 2020) -> float:
    """Extrapolate the Frechet distance of features [N, D] to infinitely many samples (Chong and Forsyth 2020).

    A line is fitted to the distances of random subsets over 1 / size, from 5,000 (or N / 10, if that is less) to N samples.
    Raises UserError for fewer than 2 * points samples.
    """
    if len(x) < 2 * points:
        raise UserError(f"a distance by extrapolation needs {2 * points} or more samples, not {len(x)}")
    sizes = np.linspace(min(SMALLEST, max(len(x) // 10, 2)), len(x), points).astype(np.int64)
    draws, distance = np.random.default_rng(seed), distance_to(real)
    values = [distance(x[draws.choice(len(x), size, replace=False)]) for size in sizes]
    _, at_infinity = np.polyfit(1 / sizes, values, 1)
    return float(at_infinity)


def frechet_interval(
    x: np.ndarray, real: Moments, *, resamples: int = RESAMPLES, seed: int = 2020
) -> tuple[float, float]:
    """Return the interval of the Frechet distance of features [N, D]: 1.96 standard errors on both sides.

    The standard error is that of a bootstrap over samples. Its percentiles would be of no use: a drawing with copies has fewer
    different samples, so a larger distance.
    """
    if len(x) < 2:
        raise UserError(f"a Frechet distance needs 2 or more samples, not {len(x)}")
    draws, distance = np.random.default_rng(seed), distance_to(real)
    error = np.std([distance(x[draws.integers(0, len(x), len(x))]) for _ in range(resamples)], ddof=1)
    middle = distance(x)
    return max(0.0, float(middle - NORMAL * error)), float(middle + NORMAL * error)
