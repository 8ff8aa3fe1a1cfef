"""Gradients of an update's loss: one normalisation for all microbatches."""

import functools

import jax
import jax.numpy as jnp

from biggan_jax.family import Family, Moving, Nets, Trees, Update
from biggan_jax.state import TrainState
from biggan_jax.types import Array, Batch, Metrics


def of_loss(
    family: Family, update: Update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array
) -> tuple[Trees, tuple[Moving, Metrics]]:
    """Return the gradient of an update's loss with respect to the normalised weights of the networks that it trains."""
    nets = Nets(family, weights, moving, key)

    def loss(trained: Trees):
        inner = nets.with_weights(trained)
        value, metrics = update.loss(inner, batch, key)
        return value, (inner.moving, {f"{update.prefix}_loss": value} | metrics)

    return jax.grad(loss, has_aux=True)({name: weights[name] for name in update.trains})


def accumulate(family: Family, update: Update, state: TrainState, batch: Batch, key: jax.Array):
    """Return the gradient with respect to raw weights, averaged over microbatches of `batch`.

    Batch norm sees one microbatch at a time. All microbatches share the normalised weights and their
    gradient; with `spectral_advance` microbatch, each computes its own.

    Returns (gradients by trained network, singular vectors by network, variables and extra state, mean metrics).
    """
    raw = {name: network.params for name, network in state.networks.items()}
    vectors = {name: network.spectral for name, network in state.networks.items()}
    moving = Moving({name: network.variables for name, network in state.networks.items()}, state.extra, state.step)
    trained = {name: raw[name] for name in update.trains}
    others = {name: params for name, params in raw.items() if name not in trained}
    grads, metrics = None, None
    for i in range(family.spectral_advances):
        weights, pullback, new = jax.vjp(functools.partial(normalize, family, vectors=vectors), trained, has_aux=True)
        other_weights, other_new = normalize(family, others, vectors)
        vectors = new | other_new
        # Sharded weights are gathered only here; below, their gradients are scattered to the shards.
        weights = family.gather(weights | other_weights)
        part, part_key = strided_slice(batch, family.spectral_advances, i), jax.random.fold_in(key, i)
        moving, (part_grads, seen) = sum_over_microbatches(family, update, weights, moving, part, part_key)
        grads, metrics = tree_add(grads, *pullback(family.scatter(part_grads))), tree_add(metrics, seen)
    grads, metrics = jax.tree.map(lambda x: x / family.microbatches, (grads, metrics))
    return grads, vectors, moving, metrics


def normalize(family: Family, params: Trees, vectors: Trees) -> tuple[Trees, Trees]:
    """Return (params / sigma, new singular vectors) of each network."""
    both = {name: family.normalize(params[name], vectors[name]) for name in params}
    return {name: weights for name, (weights, _) in both.items()}, {name: new for name, (_, new) in both.items()}


def sum_over_microbatches(family: Family, update: Update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
    """Return (moving, sums of (gradient, metrics)) over the microbatches between two power steps."""
    parts = family.microbatches // family.spectral_advances
    gradient = update.gradient or of_loss

    def one(j, moving):
        part, part_key = strided_slice(batch, parts, j), jax.random.fold_in(key, j)
        grads, (moving, metrics) = gradient(family, update, weights, moving, part, part_key)
        return moving, (grads, metrics)

    return loop(family, parts, one, moving)


def loop(family: Family, times: int, one, carry):
    """Run one(i, carry) -> (carry, result) for i = 0 ... times - 1; return the last carry and the sum of results."""

    def step(i, carry_and_sums):
        carry, sums = carry_and_sums
        carry, result = one(i, carry)
        return carry, tree_add(sums, result)

    carried = carry, None
    if family.loops and times > 1:
        sums = jax.tree.map(jnp.zeros_like, jax.eval_shape(functools.partial(one, 0), carry)[1])
        return jax.lax.fori_loop(0, times, step, (carry, sums))
    for i in range(times):
        carried = step(i, carried)
    return carried


def strided_slice(batch, step: int, start: int | jax.Array):
    """Return every step-th example from `start` on. Unlike a contiguous slice, it has examples of every device."""
    pick = lambda x: jax.lax.dynamic_index_in_dim(x.reshape(-1, step, *x.shape[1:]), start, axis=1, keepdims=False)
    return jax.tree.map(pick, batch)


def scatter_slice(batch: jax.Array, part: jax.Array, step: int, start: int | jax.Array) -> jax.Array:
    """Replace every step-th example of `batch` from `start` on by `part`: the inverse of `strided_slice`."""
    whole = batch.reshape(-1, step, *batch.shape[1:])
    return jax.lax.dynamic_update_index_in_dim(whole, part, start, axis=1).reshape(batch.shape)


def interleave(real: Array, fake: Array) -> jax.Array:
    """Interleave as real, fake, real, fake: [2 B, ...]. Concatenation would move half of a sharded batch."""
    return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:])


def tree_add(total, more):
    """Return the sum of two trees, or `more` if `total` is None."""
    return more if total is None else jax.tree.map(jnp.add, total, more)
