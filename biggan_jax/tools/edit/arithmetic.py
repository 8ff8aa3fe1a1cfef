"""Owns sums of classes and of latents: what `king - man + woman` is for words. Must not know files nor pictures."""

from collections.abc import Sequence

import numpy as np

Terms = list[tuple[float, int]]
"""(factor, which class or row)."""


def class_weights(terms: Terms, num_classes: int) -> np.ndarray:
    """Weights over classes, float32 [num_classes]: what G takes for y. It is linear in them before its first nonlinearity.

    207 - 281 + 3 sums to one, as a class does; a sum that does not is no more than the user asked for.
    """
    weights = np.zeros(num_classes, np.float32)
    for factor, label in terms:
        weights[label] += np.float32(factor)
    return weights


def weighted_sum(factors: Sequence[float], rows: np.ndarray) -> np.ndarray:
    """rows [terms, D], each times its factor, added up: float32 [D]."""
    return np.asarray(factors, np.float32) @ rows


def rescaled(total: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`total` [D], made as long as `rows` [terms, D] are in the mean: a sum of three latents is 1.7 times as long as G ever saw."""
    length = np.linalg.norm(total)
    return total * (np.linalg.norm(rows, axis=1).mean() / length) if length else total
