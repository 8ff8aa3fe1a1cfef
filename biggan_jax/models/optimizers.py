"""Optimizers and their schedules from a config. Schedules follow the step of training, whatever a checkpoint's optimizer has done."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import optax

from biggan_jax.types import UserError

Schedule = Callable[[jax.Array], jax.Array]
"""The step of training to a value."""


def optimizer(
    config: ml_collections.ConfigDict, learning_rate: float, updates_per_step: int = 1
) -> optax.GradientTransformation:
    """Return the optimizer of one network. Raises UserError.

    updates_per_step: its updates in a step of training; exponential decay is per update.
    """
    own, decay = config.optimizer, schedule(config, learning_rate, updates_per_step)
    if own.name == "sgd":
        steps = sgd(learning_rate, decay, momentum(config))
    else:
        steps = rmsprop(learning_rate, own) if own.name == "rmsprop" else adam(learning_rate, own)
        steps = optax.chain(steps, scale_by_step(decay)) if decay else steps
    return optax.chain(optax.add_decayed_weights(own.weight_decay), steps) if own.weight_decay else steps


def adam(learning_rate: float, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Return Adam. With b1 = 0, as in BigGAN, use the equal RMSProp with bias correction, without a first moment."""
    if config.b1 == 0.0:
        return optax.rmsprop(learning_rate, decay=config.b2, eps=config.eps, eps_in_sqrt=False, bias_correction=True)
    return optax.adam(learning_rate, b1=config.b1, b2=config.b2, eps=config.eps)


def rmsprop(learning_rate: float, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Return torch's RMSProp: the root is taken before eps is added, and the first averages are not corrected."""
    return optax.rmsprop(learning_rate, decay=config.b2, eps=config.eps, eps_in_sqrt=False)


def sgd(learning_rate: float, decay: Schedule | None, momentum: Schedule) -> optax.GradientTransformation:
    """Return SGD whose velocity is momentum * velocity - rate * gradient, both at their values of the step."""

    def update(grads, velocity, params=None, *, step, **_):
        rate, kept = learning_rate * (decay(step) if decay else 1), momentum(step)
        velocity = jax.tree.map(lambda v, g: kept * v - rate * g, velocity, grads)
        return velocity, velocity

    zeros = lambda params: jax.tree.map(jnp.zeros_like, params)
    return optax.GradientTransformationExtraArgs(zeros, update)


def scale_by_step(factor: Schedule) -> optax.GradientTransformation:
    """Return the transformation that multiplies updates by factor(step of training); it has no state."""

    def update(updates, state, params=None, *, step, **_):
        return jax.tree.map(lambda u: u * factor(step), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def schedule(config: ml_collections.ConfigDict, learning_rate: float, updates_per_step: int) -> Schedule | None:
    """Return the factor of the learning rates over steps, or None if they are constant. Raises UserError."""
    own = config.optimizer
    if own.decay == "constant":
        return None
    if own.decay == "exponential":
        if own.decay_factor >= 1:
            raise UserError(f"optimizer.decay=exponential needs optimizer.decay_factor below 1, not {own.decay_factor}")
        least = own.least_lr / learning_rate
        return lambda step: jnp.maximum(own.decay_factor ** jnp.float32(step * updates_per_step), least)
    start, end = own.decay_start, own.decay_end
    if start >= end:
        raise UserError(
            f"optimizer.decay=linear needs optimizer.decay_end, the step at which rates are 0, above decay_start {start}"
        )
    return lambda step: jnp.clip((end - step) / (end - start), 0, 1)


def momentum(config: ml_collections.ConfigDict) -> Schedule:
    """Return sgd's momentum over steps: constant, or growing linearly to its last value."""
    own = config.optimizer
    if not own.momentum_end:
        return lambda step: jnp.float32(own.momentum)
    share = lambda step: jnp.clip(step / own.momentum_end, 0, 1)
    return lambda step: own.momentum + (own.last_momentum - own.momentum) * share(step)
