"""Directions in z along which an attribute changes, learned from labelled samples."""

from typing import NamedTuple

import numpy as np

from biggan_jax.types import UserError

HELD_OUT = 0.2
"""Share of the samples that the direction's accuracy is measured on."""

RIDGE = 1.0
"""Penalty on half the squared weights, beside the summed loss: separable labels have no finite optimum without one."""


class Direction(NamedTuple):
    """vector: float32 [dim_z], of norm one. accuracy: on held-out samples. chance: that of the most frequent label."""

    vector: np.ndarray
    accuracy: float
    chance: float


def find(z: np.ndarray, labels: np.ndarray, seed: int = 0) -> Direction:
    """Fit a logistic regression of labels, 0 or 1 [N], on z [N, dim_z]; return the normal of its decision plane.

    Shen et al. 2020 (InterFaceGAN), sec. 2.2, who use an SVM. Raises UserError if there are too few samples.
    """
    order = np.random.default_rng(seed).permutation(len(z))
    held_out, rest = np.split(order, [int(len(z) * HELD_OUT)])
    if len(held_out) == 0 or len(np.unique(labels[rest])) < 2:
        raise UserError(f"a direction needs at least 5 samples with both labels, 0 and 1; there are {len(z)} samples")
    weights, bias = _logistic_regression(z[rest].astype(np.float64), labels[rest].astype(np.float64))
    correct = (z[held_out] @ weights + bias > 0) == labels[held_out]
    share = labels[held_out].mean()
    vector = (weights / np.linalg.norm(weights)).astype(np.float32)
    return Direction(vector, float(correct.mean()), max(share, 1 - share))


def _logistic_regression(x: np.ndarray, labels: np.ndarray, iterations: int = 20) -> tuple[np.ndarray, float]:
    """Minimise the logistic loss with a ridge on the weights by Newton's method; return weights [D] and bias."""
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
    """Convert scores [N] to 0 or 1: whether above the median of samples with equal y; labels 0 and 1 are returned as they are.

    y: [N] or [N, num_classes]. Medians are taken within a class because classes differ by more than z does, and the
    direction should change a sample within its class.
    """
    if np.isin(scores, (0, 1)).all():
        return scores.astype(int)
    _, group = np.unique(y, axis=0, return_inverse=True)
    group = group.reshape(-1)
    # A single sample is never above its own median, so it is compared with all samples.
    in_group = lambda g: scores[group == g] if (group == g).sum() > 1 else scores
    medians = np.array([np.median(in_group(g)) for g in range(group.max() + 1)])
    return (scores > medians[group]).astype(int)


def moved(z: np.ndarray, vector: np.ndarray, by: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Move z [N, dim_z] along the direction, in equal steps from -by to +by: ([N, columns, dim_z], steps [columns])."""
    steps = np.linspace(-by, by, columns, dtype=np.float32)
    return z[:, None] + steps[:, None] * vector, steps
