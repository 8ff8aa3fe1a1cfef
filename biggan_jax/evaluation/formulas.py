"""The formulas of FID, Inception Score and KID, in float64 on the host; of a Frechet distance also within classes."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError

SPLITS, SUBSETS, SUBSET_SIZE = 10, 100, 1000
"""Splits of an Inception Score; subsets of a kernel distance, and samples in each."""


class Moments(NamedTuple):
    """Mean float64 [D] and unbiased covariance float64 [D, D] of `count` features."""

    count: int  # type: ignore[assignment]  # Shadows tuple.count.
    mean: np.ndarray
    covariance: np.ndarray


def moments(batches: Iterable[np.ndarray]) -> Moments:
    """Accumulate the moments of batches float [B, D], B at least 1. Raises UserError for fewer than two features.

    Sums are of differences from a point near the mean; otherwise covariances would be differences of large numbers.
    """
    count, near, total, products = 0, np.zeros(()), np.zeros(()), np.zeros(())
    for features in batches:
        if not count:
            # In float32, so that differences from features in float32 are exact.
            near = features.mean(0, dtype=np.float64).astype(np.float32).astype(np.float64)
        x = features - near
        count, total, products = count + len(x), total + x.sum(0), products + x.T @ x
    if count < 2:
        raise UserError(f"a Frechet distance needs 2 or more samples on each side; one side has {count}")
    mean = total / count
    return Moments(count, near + mean, (products - count * np.outer(mean, mean)) / (count - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Compute `|ma - mb|^2 + tr(A + B - 2 (AB)^1/2)`, the distance between Gaussians (Heusel et al. 2017), at least 0.

    For any R with R R^T = A, AB has the eigenvalues of R^T B R, which is symmetric. Negative ones, due to rounding, count
    as zero.
    """
    # Take the root of the side with more features: it is likelier to have a Cholesky root, which is faster.
    root, other = (covariance_root(a.covariance), b) if a.count >= b.count else (covariance_root(b.covariance), a)
    values = np.linalg.eigvalsh(root.T @ other.covariance @ root)
    cross = np.sqrt(np.maximum(values, 0)).sum()
    return _assembled(a.mean, b.mean, np.trace(a.covariance), np.trace(b.covariance), cross)


def frechet_by_class(
    features: np.ndarray, labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray
) -> dict[int, float]:
    """Compute the distance within each class (intra-class FID; Miyato and Koyama 2018), if each side has two or more of it.

    Features float [N, D] and [M, D], labels int [N] and [M].
    """
    distances = {}
    for label in np.intersect1d(labels, real_labels):
        a, b = features[labels == label], real[real_labels == label]
        if min(len(a), len(b)) >= 2:
            few = len(a) * len(b) < a.shape[1] ** 2
            distances[int(label)] = _of_few(a, b) if few else frechet_distance(moments([a]), moments([b]))
    return distances


def covariance_root(covariance: np.ndarray) -> np.ndarray:
    """Return R [D, rank] with R R^T = covariance."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        positive = values > 0
        return vectors[:, positive] * np.sqrt(values[positive])


def _of_few(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the distance between features [N, D] and [M, D] without any [D, D] matrix, which is faster for N M < D^2.

    For centred a and b with A = a^T a and B = b^T b, tr (AB)^1/2 is the sum of the singular values of a b^T.
    """
    mean_a, mean_b = (x.mean(0, dtype=np.float64) for x in (a, b))
    a, b = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return _assembled(mean_a, mean_b, (a * a).sum(), (b * b).sum(), cross)


def _assembled(mean_a, mean_b, trace_a, trace_b, cross) -> float:
    apart = mean_a - mean_b
    return max(0.0, float(apart @ apart + trace_a + trace_b - 2 * cross))


def inception_score(logits: np.ndarray, splits: int = SPLITS, seed: int = 2020) -> tuple[float, float]:
    """Compute exp of the mean KL(p(y|x), p(y)) for logits float [N, K]: mean and standard deviation over splits, in [1, K].

    Salimans et al. 2016. As torch-fidelity does, samples are shuffled by `seed` first: splits of samples sorted by class
    would have few classes each. Raises UserError if there are fewer samples than splits.
    """
    if len(logits) < splits:
        raise UserError(f"an Inception Score over {splits} splits needs {splits} or more samples, not {len(logits)}")
    order = np.random.RandomState(seed).permutation(len(logits))
    scores = []
    for part in np.split(logits[order], np.arange(1, splits) * len(logits) // splits):
        shifted = part - part.max(1, keepdims=True).astype(np.float64)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        p = np.exp(log_p)
        mean = p.mean(0)
        # A class of probability 0 adds nothing, and has no logarithm.
        log_mean = np.log(np.where(mean > 0, mean, 1))
        scores.append(np.exp((p * (log_p - log_mean)).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


class KernelDistance(NamedTuple):
    """Mean and standard deviation over subsets, and the number of samples of each side in a subset."""

    mean: float
    std: float
    subset_size: int


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 2020
) -> KernelDistance:
    """Estimate the squared MMD with the kernel (x.y / D + 1)^3 between features [N, D] and [M, D] (Binkowski et al. 2018).

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
        values.append(_between_others(x) + _between_others(y) - 2 * polynomial_kernel(x, y).mean(dtype=np.float64))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def _between_others(x: np.ndarray) -> float:
    """Average the kernel over all pairs of two different samples."""
    values, n = polynomial_kernel(x, x), len(x)
    return (values.sum(dtype=np.float64) - np.trace(values, dtype=np.float64)) / (n * (n - 1))


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x.y / D + 1)^3 for all pairs of features [N, D] and [M, D]: [N, M]."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # Faster than base**3.
