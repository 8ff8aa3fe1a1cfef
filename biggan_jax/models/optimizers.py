"""Optimizers and their schedules from a config."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import optax

from biggan_jax.types import UserError

Schedule = float | Callable[[jax.Array], jax.Array]


def optimizer(
    config: ml_collections.ConfigDict, learning_rate: float, updates_per_step: float
) -> optax.GradientTransformation:
    """Return the optimizer of one network. updates_per_step: its updates in a step of training. Raises UserError."""
    own = config.optimizer
    rate = learning_rate_of(config, learning_rate, updates_per_step)
    if own.name == "sgd":
        steps = sgd(rate, momentum_of(config, updates_per_step))
    elif own.name == "rmsprop":
        # As in torch: the root is taken before eps is added, and there is no correction of the first averages.
        steps = optax.rmsprop(rate, decay=own.b2, eps=own.eps, eps_in_sqrt=False)
    else:
        steps = adam(rate, own)
    return optax.chain(optax.add_decayed_weights(own.weight_decay), steps) if own.weight_decay else steps


def adam(learning_rate: Schedule, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Return Adam. With b1 = 0, as in BigGAN, use the equal RMSProp with bias correction, without a first moment."""
    if config.b1 == 0.0:
        return optax.rmsprop(learning_rate, decay=config.b2, eps=config.eps, eps_in_sqrt=False, bias_correction=True)
    return optax.adam(learning_rate, b1=config.b1, b2=config.b2, eps=config.eps)


def sgd(learning_rate: Schedule, momentum: Schedule) -> optax.GradientTransformation:
    """Return SGD whose velocity is momentum * velocity - learning_rate * gradient, both at their value of the moment."""
    trace = optax.inject_hyperparams(optax.trace)(decay=momentum)
    return optax.chain(optax.scale_by_learning_rate(learning_rate), trace)


def learning_rate_of(config: ml_collections.ConfigDict, learning_rate: float, updates_per_step: float) -> Schedule:
    """Return the learning rate, as a function of the network's updates if it decays. Raises UserError."""
    own = config.optimizer
    if own.decay == "exponential":
        return lambda count: jnp.maximum(learning_rate * own.decay_factor ** count.astype(jnp.float32), own.least_lr)
    if own.decay == "constant":
        return learning_rate
    start, end = own.decay_start, own.decay_end or config.num_steps
    if start >= end:
        raise UserError(f"optimizer.decay_start {start} must be below the end of the decay, step {end}")

    def linear(count: jax.Array) -> jax.Array:
        step = jnp.floor(count / updates_per_step)
        return learning_rate * jnp.clip((end - step) / (end - start), 0, 1)

    return linear


def momentum_of(config: ml_collections.ConfigDict, updates_per_step: float) -> Schedule:
    """Return sgd's momentum, as a function of the network's updates if it grows."""
    own = config.optimizer
    if not own.momentum_end:
        return own.momentum
    return lambda count: (
        own.momentum
        + (own.last_momentum - own.momentum) * jnp.clip(count / (own.momentum_end * updates_per_step), 0, 1)
    )
