"""Frechet distances between features, overall and by class; their moments, accumulated batch by batch."""

from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError


class Moments(NamedTuple):
    """Mean float64 [D] and unbiased covariance float64 [D, D] of `count` features."""

    count: int  # type: ignore[assignment]  # Shadows tuple.count.
    mean: np.ndarray
    covariance: np.ndarray


class Accumulator:
    """Accumulates moments over batches in float64.

    Sums are of differences from a point near the mean; otherwise covariances would be differences of large numbers.
    """

    def __init__(self):
        self._count = 0

    def add(self, features: np.ndarray) -> None:
        """Add float [B, D], B at least 1."""
        if not self._count:
            # In float32, so that differences from features in float32 are exact.
            self._near = features.mean(0, dtype=np.float64).astype(np.float32).astype(np.float64)
            self._sum, self._products = 0.0, 0.0
        x = features - self._near
        self._count += len(x)
        self._sum += x.sum(0)
        self._products += x.T @ x

    def moments(self) -> Moments:
        """Return the moments so far. Raises UserError for fewer than two features."""
        n = self._count
        if n < 2:
            raise UserError(f"a Frechet distance needs 2 or more samples on each side; one side has {n}")
        mean = self._sum / n
        return Moments(n, self._near + mean, (self._products - n * np.outer(mean, mean)) / (n - 1))


def moments(features: np.ndarray) -> Moments:
    """Return the moments of float [N, D]. Raises UserError if N is less than two."""
    accumulator = Accumulator()
    accumulator.add(features)
    return accumulator.moments()


def distance(a: Moments, b: Moments) -> float:
    """Compute `|ma - mb|^2 + tr(A + B - 2 (AB)^1/2)`, the distance between Gaussians (Heusel et al. 2017), at least 0.

    For any R with R R^T = A, AB has the eigenvalues of R^T B R, which is symmetric. Negative ones, due to rounding, count
    as zero.
    """
    # Take the root of the side with more features: it is likelier to have a Cholesky root, which is faster.
    root, other = (_root(a.covariance), b) if a.count >= b.count else (_root(b.covariance), a)
    values = np.linalg.eigvalsh(root.T @ other.covariance @ root)
    cross = np.sqrt(np.maximum(values, 0)).sum()
    return _assembled(a.mean, b.mean, np.trace(a.covariance), np.trace(b.covariance), cross)


def by_class(
    features: np.ndarray, labels: np.ndarray, reference_features: np.ndarray, reference_labels: np.ndarray
) -> dict[int, float]:
    """Compute the distance within each class (intra-class FID; Miyato and Koyama 2018), if each side has two or more of it.

    Features float [N, D] and [M, D], labels int [N] and [M].
    """
    distances = {}
    for label in np.intersect1d(labels, reference_labels):
        a, b = features[labels == label], reference_features[reference_labels == label]
        if min(len(a), len(b)) >= 2:
            few = len(a) * len(b) < a.shape[1] ** 2
            distances[int(label)] = _of_few(a, b) if few else distance(moments(a), moments(b))
    return distances


def _root(covariance: np.ndarray) -> np.ndarray:
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
    (mean_a, a), (mean_b, b) = _centred(a), _centred(b)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return _assembled(mean_a, mean_b, (a * a).sum(), (b * b).sum(), cross)


def _centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = x.mean(0, dtype=np.float64)
    return mean, (x - mean) / np.sqrt(len(x) - 1)


def _assembled(mean_a, mean_b, trace_a, trace_b, cross) -> float:
    apart = mean_a - mean_b
    return max(0.0, float(apart @ apart + trace_a + trace_b - 2 * cross))
