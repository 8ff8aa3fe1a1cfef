"""One training step of any family: its updates in order, then the averages."""

import functools

import jax
import jax.numpy as jnp
import optax

from biggan_jax import gradients
from biggan_jax.family import Family, Update
from biggan_jax.layers.convolution import in_branch
from biggan_jax.state import TrainState
from biggan_jax.types import Batch, Image, Metrics, Params, UserError

ONCE_IN = "once_in_"
"""The scope of an update that runs in each n-th step is named ONCE_IN and n, for the planner."""


def train_step(
    family: Family, state: TrainState, batch: Batch, updates: tuple[Update, ...] | None = None
) -> tuple[TrainState, Metrics]:
    """Run the family's updates in order, then move the averages.

    An update whose loss or gradient is not finite is not applied; its metric *_faults, bool [times in a step, ...], says so.

    Args:
        batch: the step's real data, [minibatches, B, ...].
        updates: by default all of the family's.
    """
    state, updates = family.before_step(state), family.updates() if updates is None else updates
    check_prefixes(updates)
    batch_size = jax.tree.leaves(batch)[0].shape[1]
    metrics: Metrics = {}
    faults: dict[str, list[jax.Array]] = {}
    for update, key in zip(updates, jax.random.split(state.step_key(), len(updates)), strict=True):
        draw_key, key = jax.random.split(key)
        data = {name: to_float(x[update.minibatch]) for name, x in batch.items()} | update.draw(draw_key, batch_size)
        data["image"] = family.real_images(data["image"], state)
        run = functools.partial(apply_update, family, update, batch=data, key=key)
        state, seen = run(state) if update.always else sometimes(update, run, state)
        metrics |= seen
        faults.setdefault(f"{update.prefix}_faults", []).append(seen[f"{update.prefix}_faults"])
    averages = {
        name: moving_average(family, state.step, average, state.networks[name].params)
        for name, average in state.averages.items()
    }
    state = state.replace(step=state.step + 1, averages=averages)
    return state, metrics | {name: jnp.stack(values) for name, values in faults.items()}


def check_prefixes(updates: tuple[Update, ...]) -> None:
    """Raise UserError if two updates train different networks under one prefix: their metrics could not be told apart."""
    trained: dict[str, tuple[str, ...]] = {}
    for update in updates:
        if (other := trained.setdefault(update.prefix, update.trains)) != update.trains:
            both = " and ".join(", ".join(names) for names in (other, update.trains))
            raise UserError(f"two updates have the prefix {update.prefix!r}, of {both}; give each its own Update.name")


def apply_update(
    family: Family, update: Update, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, Metrics]:
    """One optimizer step of the networks that `update` trains; moves the statistics and vectors of all.

    Args:
        batch: real data, float32, and what `update.draw` returns: arrays [B, ...].
    """
    grads, vectors, moving, metrics = gradients.accumulate(family, update, state, batch, key)
    if update.penalty:
        penalty = lambda params: update.penalty(params)
        more, seen = jax.grad(penalty, has_aux=True)({name: state.networks[name].params for name in update.trains})
        grads, metrics = gradients.tree_add(grads, more), metrics | seen
    networks = {
        name: network.replace(spectral=vectors[name], variables=moving.variables[name])
        for name, network in state.networks.items()
    }
    for name in update.trains:
        networks[name] = networks[name].moved_by(family.networks[name], grads[name], state.step)
    new_params = {name: networks[name].params for name in update.trains}
    norm, faults = norm_and_faults(grads, new_params, metrics[f"{update.prefix}_loss"])
    new = state.replace(networks=networks, extra=moving.extra)
    metrics |= {f"{update.prefix}_grad_norm": norm, f"{update.prefix}_faults": faults}
    return where_finite(faults, new, state), metrics


def sometimes(update: Update, run, state: TrainState) -> tuple[TrainState, Metrics]:
    """run(state) if the update runs in this step; else the state as it is, and metrics that are NaN (no fault is reported)."""
    _, shapes = jax.eval_shape(run, state)
    absent = {name: jnp.full(s.shape, False if s.dtype == bool else jnp.nan, s.dtype) for name, s in shapes.items()}
    with in_branch(), jax.named_scope(f"{ONCE_IN}{update.every}"):
        return jax.lax.cond(update.runs_in(state.step), run, lambda state: (state, absent), state)


def norm_and_faults(grads: Params, params: Params, loss: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradient's Euclidean norm, and what is not finite.

    The latter is bool [weights + 1]: one per weight (itself or its gradient), then the loss.

    The loss is not enough: on CPU, ReLU maps NaN to 0.
    """
    squares = lambda tree: jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)])
    of_grads = squares(grads)
    return jnp.sqrt(of_grads.sum()), ~jnp.isfinite(jnp.append(of_grads + squares(params), loss))


def where_finite(faults: jax.Array, new: TrainState, old: TrainState) -> TrainState:
    """The new state, or the old one, statistics included, if the update is not finite."""
    return jax.tree.map(lambda old, new: jnp.where(faults.any(), old, new), old, new)


def moving_average(family: Family, step: jax.Array, average: Params, params: Params) -> Params:
    """The exponential moving average of parameters after the step that started at `step`."""
    with jax.named_scope("average"):
        return optax.incremental_update(params, average, 1 - family.ema_decay_at(step))


def to_float(images: Image) -> Image:
    """uint8 in [0, 255] or uint16 in [0, 65535] to float32 in [-1, 1], on the device, to save traffic. Others stay."""
    if images.dtype == jnp.uint16:
        return images.astype(jnp.float32) / 32767.5 - 1.0
    return images.astype(jnp.float32) / 127.5 - 1.0 if images.dtype == jnp.uint8 else images
