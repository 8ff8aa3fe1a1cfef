"""Weighted sums of classes and of latents, as `king - man + woman` is for words."""

from collections.abc import Sequence

import numpy as np

Terms = list[tuple[float, int]]
"""(factor, class or row)."""


def class_weights(terms: Terms, num_classes: int) -> np.ndarray:
    """Add up classes to weights, float32 [num_classes], for G's y. G is linear in them up to its first nonlinearity.

    The weights of 207 - 281 + 3 sum to one, as those of a class do; other sums are allowed.
    """
    weights = np.zeros(num_classes, np.float32)
    for factor, label in terms:
        weights[label] += np.float32(factor)
    return weights


def weighted_sum(factors: Sequence[float], rows: np.ndarray) -> np.ndarray:
    """Add up rows [terms, D], each times its factor: float32 [D]."""
    return np.asarray(factors, np.float32) @ rows


def rescaled(total: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Scale `total` [D] to the mean norm of `rows` [terms, D]: the norm of a sum of three latents is 1.7 times theirs."""
    length = np.linalg.norm(total)
    return total * (np.linalg.norm(rows, axis=1).mean() / length) if length else total
