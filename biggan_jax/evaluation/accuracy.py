"""Classification accuracy scores: a linear classifier of features is fitted to one set, and tested on the other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.types import UserError

PENALTY, STEPS = 1e-3, 200
"""Strength of the penalty on squared weights beside the mean loss, and steps of L-BFGS at most."""


class Classifier(NamedTuple):
    """A linear classifier of standardised features: mean, scale [D]; weights [D, K]; bias [K]; classes, their labels [K]."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    classes: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the label of each of the features [N, D]."""
        scores = (features - self.mean) / self.scale @ self.weights + self.bias
        return self.classes[scores.argmax(1)]


def fit(features: np.ndarray, labels: np.ndarray) -> Classifier:
    """Fit multinomial logistic regression to features [N, D] and labels int [N]. Raises UserError for fewer than two classes."""
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"a classifier needs two or more classes, not {len(classes)}")
    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(scale > 1e-6 * max(scale.max(), 1e-30), scale, np.inf)  # A constant feature has no weight.
    x = ((features - mean) / scale).astype(np.float32)
    weights, bias = jax.device_get(_solve(x, targets.astype(np.int32), len(classes)))
    return Classifier(mean, scale, weights, bias, classes)


def accuracy_by_class(classifier: Classifier, features: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Return the share of each class that the classifier tells right."""
    right = classifier(features) == labels
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def _solve(x: np.ndarray, targets: np.ndarray, classes: int) -> tuple[jax.Array, jax.Array]:
    def loss(params):
        weights, bias = params
        logits = jnp.matmul(x, weights, precision=jax.lax.Precision.HIGHEST) + bias
        mean = optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
        return mean + PENALTY / 2 * (weights * weights).sum()

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry):
        params, state, _, i = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(params, updates), state, jnp.sqrt(sum(jnp.vdot(g, g) for g in grad)), i + 1

    @jax.jit
    def run(params):
        far = lambda carry: (carry[3] < STEPS) & (carry[2] > 1e-5)
        return jax.lax.while_loop(far, step, (params, optimizer.init(params), jnp.float32(jnp.inf), 0))[0]

    return run((jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)))
