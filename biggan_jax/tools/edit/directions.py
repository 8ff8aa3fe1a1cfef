"""Owns directions in z along which an attribute changes, found from labelled samples. Must not know files nor networks."""

from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError

HELD_OUT = 0.2
"""Of the samples, to say how well the direction tells their labels."""

RIDGE = 1.0
"""Penalty on half the squared weights, beside the summed loss: without one, labels that z separates have no best weights."""


class Direction(NamedTuple):
    """vector: float32 [dim_z], of length one; accuracy: on held-out samples; chance: of always saying what is more frequent there."""

    vector: np.ndarray
    accuracy: float
    chance: float


def find(z: np.ndarray, labels: np.ndarray, seed: int = 0) -> Direction:
    """The normal of the plane that best tells the labels, 0 or 1 [N], of z [N, dim_z] apart: logistic regression.

    Shen et al. 2020, InterFaceGAN, sec. 2.2, with logistic regression for their SVM. Raises UserError if the samples are too few.
    """
    order = np.random.default_rng(seed).permutation(len(z))
    held_out, rest = np.split(order, [int(len(z) * HELD_OUT)])
    if len(held_out) == 0 or len(np.unique(labels[rest])) < 2:
        raise UserError(f"the {len(z)} samples must be at least 5, and have both labels, 0 and 1, among them")
    weights, bias = _logistic_regression(z[rest].astype(np.float64), labels[rest].astype(np.float64))
    right = (z[held_out] @ weights + bias > 0) == labels[held_out]
    share = labels[held_out].mean()
    return Direction((weights / np.linalg.norm(weights)).astype(np.float32), float(right.mean()), max(share, 1 - share))


def _logistic_regression(x: np.ndarray, labels: np.ndarray, iterations: int = 20) -> tuple[np.ndarray, float]:
    """Weights [D] and bias that minimise the logistic loss with the ridge on the weights, by Newton's method."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    ridge = np.append(np.full(x.shape[1] - 1, RIDGE), 1e-6)
    w = np.zeros(x.shape[1])
    for _ in range(iterations):
        p = 0.5 * (1 + np.tanh(0.5 * x @ w))
        gradient = x.T @ (p - labels) + ridge * w
        hessian = (x.T * (p * (1 - p))) @ x + np.diag(ridge)
        w -= np.linalg.solve(hessian, gradient)
    return w[:-1], w[-1]


def as_labels(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Scores [N] as 0 or 1: whether above the median of those with the same y, [N] or [N, num_classes]; 0 and 1 stay what they are.

    Of its class, since the direction is to change a sample within it, and classes differ by more than z does.
    """
    if np.isin(scores, (0, 1)).all():
        return scores.astype(int)
    _, kind = np.unique(y, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    # One sample alone is never above its own median.
    of_kind = lambda k: scores[kind == k] if (kind == k).sum() > 1 else scores
    medians = np.array([np.median(of_kind(k)) for k in range(kind.max() + 1)])
    return (scores > medians[kind]).astype(int)


def moved(z: np.ndarray, vector: np.ndarray, by: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """z [N, dim_z] at so many equal steps from -by to +by along the direction: ([N, columns, dim_z], steps [columns])."""
    steps = np.linspace(-by, by, columns, dtype=np.float32)
    return z[:, None] + steps[:, None] * vector, steps
