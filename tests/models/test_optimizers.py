import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.family import Network
from biggan_jax.models.optimizers import optimizer
from biggan_jax.state import NetworkState


def config(**changes):
    c = base()
    c.optimizer.update(changes)
    return c


def weights_after(c, grads, start=1.0, rate=0.1, first_step=0):
    """The weight after each update by these gradients, one in each step."""
    network = Network(None, optimizer(c, rate), lambda key: ())
    state = NetworkState({"w": jnp.float32(start)}, {}, {}, network.optimizer.init({"w": jnp.float32(start)}))
    seen = []
    for step, grad in enumerate(grads, first_step):
        state = state.moved_by(network, {"w": jnp.float32(grad)}, jnp.int32(step))
        seen.append(float(state.params["w"]))
    return seen


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
    found = weights_after(config(name="rmsprop", b2=0.99, eps=1e-8), grads)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_a_schedule_follows_the_step_of_training(name):
    c = config(name=name, decay="linear", decay_end=4)
    moved = -np.diff(weights_after(c, [1.0] * 5), prepend=1.0)
    assert moved[-1] == 0 and (moved[:4] > 0).all()
    # Whatever the optimizer has done before: a fine-tuned run begins at step 0, a rolled back one at an earlier step.
    first, later = (1 - weights_after(c, [1.0], first_step=step)[0] for step in (0, 2))
    assert later == pytest.approx(first / 2, rel=1e-5)


def test_weight_decay_is_added_to_the_gradient():
    plain = weights_after(config(name="sgd"), [1.0 + 0.25 * 1.0])
    assert weights_after(config(name="sgd", weight_decay=0.25), [1.0]) == pytest.approx(plain)


def test_a_constant_rate_adds_nothing_to_checkpoints():
    state = optimizer(config(), 1e-3).init(jnp.zeros(2))
    assert len(jax.tree.leaves(state)) == 2  # RMSProp's count and moments, as in checkpoints of format 2.


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_constant_beta2_schedule_is_the_constant(name):
    c, grads = config(name=name, b2=0.9), [1.0, -2.0, 0.5]
    constant = weights_after(c, grads)
    c.schedule.b2 = "cosine:0.9:0.9:10"
    np.testing.assert_allclose(weights_after(c, grads), constant, rtol=1e-6)


def test_beta2_of_the_step_weighs_the_second_moment():
    c, square, weight, expected = config(b2=0.5, eps=1e-8), 0.0, 1.0, []
    c.batch_size, c.schedule.b2 = 4, "linear:0.5:0.9:8"
    for count, (grad, b2) in enumerate(zip((1.0, -2.0, 0.5, 1.0), (0.5, 0.7, 0.9, 0.9), strict=True), 1):
        square = b2 * square + (1 - b2) * grad**2
        expected.append(weight := weight - 0.1 * grad / ((square / (1 - b2**count)) ** 0.5 + 1e-8))
    np.testing.assert_allclose(weights_after(c, [1.0, -2.0, 0.5, 1.0]), expected, rtol=1e-5)
