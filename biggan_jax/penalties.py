"""Regularization terms of a network's raw weights, or of its gradient with respect to its input."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from biggan_jax.layers.spectral import group_by_shape, outputs_last
from biggan_jax.types import Image, Logit, Params


def orthogonal(params: Params, *, exclude: tuple[str, ...] = ("shared",)) -> jax.Array:
    """Return the sum over weights W [in, out] of ||W^T W o (1 - I)||_F^2 (Brock et al. 2019, sec. 3.1, eq. 3).

    It is zero if all output filters of each weight are orthogonal. It counts kernels and embeddings, whose filters are
    their classes; not biases, gains and, as in BigGAN-PyTorch, G's shared class embedding. Weights are raw, before
    spectral norm.
    """
    weights = {path: weight for path, weight in _weights(params) if path[0] not in exclude}
    groups = [jnp.stack([outputs_last(path, weights[path]) for path in paths]) for paths in group_by_shape(weights)]
    return sum((jax.vmap(_squared_products)(group).sum() for group in groups), jnp.float32(0))


def gradient_penalty(discriminate: Callable[[Image], Logit], x: Image) -> jax.Array:
    """Return E ||grad_x D(x)||^2 / 2; with real images, R1, the zero-centred penalty (Mescheder et al. 2018)."""
    # Each logit depends on its own image alone, so the gradient of the sum contains the gradient of each logit.
    grads = jax.grad(lambda x: discriminate(x).sum())(x)
    return jnp.mean(jnp.sum(jnp.square(grads), tuple(range(1, x.ndim)))) / 2


def _squared_products(weight: jax.Array) -> jax.Array:
    """Return the sum of squared products of all pairs of different columns of the matrix [..., in, out]."""
    dot = lambda axes: jnp.tensordot(weight, weight, (axes, axes), precision=jax.lax.Precision.HIGHEST)
    *inputs, outputs = range(weight.ndim)
    if weight.size >= weight.shape[-1] ** 2:
        return jnp.sum(jnp.square(dot(inputs) * (1 - jnp.eye(weight.shape[-1]))))
    # ||W^T W|| = ||W W^T||, and the latter is smaller here: G's first layer has 20 inputs and 24,576 outputs. More
    # columns than dimensions cannot be orthogonal, so the difference does not cancel.
    lengths = jnp.sum(jnp.square(weight), axis=inputs)
    return jnp.sum(jnp.square(dot([outputs]))) - jnp.sum(jnp.square(lengths))


def _weights(params: Params):
    for path, weight in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(entry.key for entry in path)
        if names[-1] in ("kernel", "embedding"):
            yield names, weight
