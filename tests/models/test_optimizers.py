import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.models.optimizers import learning_rate_of, momentum_of, optimizer


def config(**changes):
    c = base()
    c.num_steps = 100
    c.optimizer.update(changes)
    return c


def weights_after(c, grads, start=1.0, rate=0.1, updates_per_step=1):
    """The weight after each update by these gradients."""
    made = optimizer(c, rate, updates_per_step)
    weight, seen = jnp.float32(start), []
    state = made.init(weight)
    for grad in grads:
        change, state = made.update(jnp.float32(grad), state, weight)
        weight = weight + change
        seen.append(float(weight))
    return seen


def test_linear_decay_reaches_zero_at_its_end():
    rate = learning_rate_of(config(decay="linear", decay_start=20), 0.4, 5)
    at = lambda step: float(rate(jnp.int32(5 * step)))
    np.testing.assert_allclose([at(s) for s in (0, 20, 60, 100, 200)], [0.4, 0.4, 0.2, 0, 0], rtol=1e-6)
    assert float(rate(jnp.int32(5 * 60 + 4))) == at(60)  # All updates of a step have one rate.


def test_exponential_decay_stops_at_the_least_rate():
    rate = learning_rate_of(config(decay="exponential", decay_factor=0.5, least_lr=0.03), 0.4, 1)
    np.testing.assert_allclose([rate(jnp.int32(n)) for n in (0, 1, 3, 9)], [0.4, 0.2, 0.05, 0.03], rtol=1e-6)


def test_momentum_grows_to_its_last_value():
    momentum = momentum_of(config(momentum=0.5, last_momentum=0.7, momentum_end=10), 2)
    np.testing.assert_allclose([momentum(jnp.int32(n)) for n in (0, 10, 20, 90)], [0.5, 0.6, 0.7, 0.7], rtol=1e-6)


def test_sgd_keeps_a_velocity_of_past_steps():
    grads, velocity, weight, expected = (1.0, -2.0, 0.5), 0.0, 1.0, []
    for n, grad in enumerate(grads):
        velocity = 0.9 * velocity - 0.1 * 0.5**n * grad
        expected.append(weight := weight + velocity)
    c = config(name="sgd", momentum=0.9, decay="exponential", decay_factor=0.5)
    np.testing.assert_allclose(weights_after(c, grads), expected, rtol=1e-6)


def test_rmsprop_is_that_of_torch():
    grads, square, weight, expected = (1.0, -2.0, 0.5), 0.0, 1.0, []
    for grad in grads:
        square = 0.99 * square + 0.01 * grad**2
        expected.append(weight := weight - 0.1 * grad / (square**0.5 + 1e-8))
    np.testing.assert_allclose(
        weights_after(config(name="rmsprop", b2=0.99, eps=1e-8), grads), expected, rtol=1e-5, atol=1e-6
    )


def test_weight_decay_is_added_to_the_gradient():
    plain = weights_after(config(name="sgd"), [1.0 + 0.25 * 1.0])
    assert weights_after(config(name="sgd", weight_decay=0.25), [1.0]) == pytest.approx(plain)


def test_a_constant_rate_needs_no_count():
    state = optimizer(config(), 1e-3, 2).init(jnp.zeros(2))
    assert len(jax.tree.leaves(state)) == 2  # RMSProp's count and moments, as in checkpoints of format 2.
