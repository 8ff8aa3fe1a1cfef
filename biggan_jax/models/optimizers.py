"""Optimizers from a config. Their schedules follow the step of training."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import optax

from biggan_jax import schedules
from biggan_jax.schedules import OverSteps


def optimizer(
    config: ml_collections.ConfigDict, learning_rate: float, updates_per_step: int = 1, lazy: int = 0
) -> optax.GradientTransformation:
    """Return the optimizer of one network. Raises UserError.

    updates_per_step: its updates in a step of training; exponential decay is per update. lazy: it makes one more update in each
    `lazy`-th step, of penalties; 0: none. Rate and betas are then corrected (Karras et al. 2020, App. B): with
    c = lazy / (lazy + 1) they are c rate and beta^c, so that a step changes as much as without that update.
    """
    share = lazy / (lazy + 1) if lazy else 1.0
    own, decay = config.optimizer, schedules.learning_rate(config, learning_rate, updates_per_step)
    b2 = schedules.beta2(config)
    if lazy:
        own, learning_rate = own.copy_and_resolve_references(), learning_rate * share
        own.b1, own.b2, scheduled = own.b1**share, own.b2**share, b2
        b2 = scheduled and (lambda step: scheduled(step) ** share)
    if own.name == "sgd":
        steps = sgd(learning_rate, decay, schedules.momentum(config))
    else:
        make = lambda b2: (rmsprop if own.name == "rmsprop" else adam)(learning_rate, own, b2)
        steps = over_steps(make, b2) if b2 else make(own.b2)
        steps = optax.chain(steps, scale_by_step(decay)) if decay else steps
    return optax.chain(optax.add_decayed_weights(own.weight_decay), steps) if own.weight_decay else steps


def adam(
    learning_rate: float, config: ml_collections.ConfigDict, b2: float | jax.Array | None = None
) -> optax.GradientTransformation:
    """Return Adam. With b1 = 0, as in BigGAN, use the equal RMSProp with bias correction, without a first moment.

    b2: by default the config's; an array if a schedule gives it.
    """
    b2 = config.b2 if b2 is None else b2
    if config.b1 == 0.0:
        return optax.rmsprop(learning_rate, decay=b2, eps=config.eps, eps_in_sqrt=False, bias_correction=True)
    return optax.adam(learning_rate, b1=config.b1, b2=b2, eps=config.eps)


def rmsprop(
    learning_rate: float, config: ml_collections.ConfigDict, b2: float | jax.Array
) -> optax.GradientTransformation:
    """Return torch's RMSProp: the root is taken before eps is added, and the first averages are not corrected."""
    return optax.rmsprop(learning_rate, decay=b2, eps=config.eps, eps_in_sqrt=False)


def sgd(learning_rate: float, decay: OverSteps | None, momentum: OverSteps) -> optax.GradientTransformation:
    """Return SGD whose velocity is momentum * velocity - rate * gradient, both at their values of the step."""

    def update(grads, velocity, params=None, *, step, **_):
        rate, kept = learning_rate * (decay(step) if decay else 1), momentum(step)
        velocity = jax.tree.map(lambda v, g: kept * v - rate * g, velocity, grads)
        return velocity, velocity

    zeros = lambda params: jax.tree.map(jnp.zeros_like, params)
    return optax.GradientTransformationExtraArgs(zeros, update)


def scale_by_step(factor: OverSteps) -> optax.GradientTransformation:
    """Return the transformation that multiplies updates by factor(step of training); it has no state."""

    def update(updates, state, params=None, *, step, **_):
        return jax.tree.map(lambda u: u * factor(step), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def over_steps(
    make: Callable[[float | jax.Array], optax.GradientTransformation], value: OverSteps
) -> optax.GradientTransformation:
    """Return make(value(step of training)), whose state must not depend on the value."""

    def update(updates, state, params=None, *, step, **_):
        return make(value(step)).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(lambda params: make(0.0).init(params), update)
