"""Owns the formulas of scores; must not know where features come from."""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between Gaussians fitted to features [N, D] and [M, D] (Heusel et al. 2017): |ma - mb|^2 + tr(A + B - 2 (AB)^1/2).

    float64. The root's trace is the sum of the roots of the eigenvalues of A^1/2 B A^1/2, which is symmetric; those that
    rounding, or fewer features than dimensions, make negative count as zero.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root_a @ cov_b @ root_a), 0)).sum()
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)
