import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import schedules
from biggan_jax.config import base
from biggan_jax.models.adversarial import execution
from biggan_jax.types import UserError


def config(**optimizer):
    c = base()
    c.batch_size = 10
    c.optimizer.update(optimizer)
    return c


def values(schedule, *images):
    return [float(schedule(n / schedule.batch_size)) for n in images]


def test_cosine_passes_the_mean_half_way_and_stays_at_the_last():
    schedule = schedules.parse("cosine:2:0.2:1000", 10)
    np.testing.assert_allclose(values(schedule, 0, 500, 1000, 5000), [2, 1.1, 0.2, 0.2], rtol=1e-6)
    assert values(schedule, 250) == pytest.approx([0.2 + 1.8 * (1 + 0.5**0.5) / 2])
    assert values(schedules.parse("cosine:0:0.3:1000", 10), 0, 1000) == pytest.approx([0, 0.3])


def test_parts_follow_each_other_such_as_a_warm_up():
    schedule = schedules.parse("linear:0:1:100, constant:1:50,cosine:1:0.5:200", 10)
    found = values(schedule, 0, 50, 100, 140, 150, 250, 350, 10**6)
    np.testing.assert_allclose(found, [0, 0.5, 1, 1, 1, 0.75, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cosin:1:2:3", "did you mean cosine"),
        ("cosine:1:2", "is not cosine:FIRST:LAST:IMAGES"),
        ("constant:1:2:3", "is not constant:VALUE:IMAGES"),
        ("linear:1:x:3", "is not linear:FIRST:LAST:IMAGES"),
        ("linear:1:-1:3", "at least 0"),
        ("linear:1:nan:3", "at least 0"),
        ("linear:1:0:0", "images greater than 0"),
        ("linear:1:0:5,", "unknown"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(text, words):
    with pytest.raises(UserError, match="schedule.lr.*" + words):
        c = config()
        c.schedule.lr = text
        schedules.learning_rate(c, 1e-3, 1)


def test_values_that_a_schedule_replaces_are_refused():
    c = config(b2=0.99)
    c.schedule.b2 = "linear:0.9:0.99:100"
    with pytest.raises(UserError, match="set it to 0.9"):
        schedules.beta2(c)
    c.optimizer.b2 = 0.9
    assert schedules.beta2(c).parts[0].last == 0.99
    c.optimizer.name = "sgd"
    with pytest.raises(UserError, match="no effect with optimizer.name=sgd"):
        schedules.beta2(c)
    c.optimizer.update({"name": "adam", "decay": "linear", "decay_end": 5})
    c.schedule.lr, c.ema.ramp = "linear:1:0:100", 0.05
    with pytest.raises(UserError, match="both change the learning rates"):
        schedules.learning_rate(c, 1e-3, 1)
    with pytest.raises(UserError, match="ema.ramp=0.05 has no effect"):
        schedules.ema_half_life(c)
    c.schedule.b2 = "linear:0.9:1:100"
    with pytest.raises(UserError, match="less than 1"):
        schedules.beta2(c)


def test_half_of_the_ema_is_forgotten_after_its_half_life():
    c = config()
    c.ema.half_life = 20
    assert float(schedules.ema_half_life(c)(7)) == pytest.approx(0.5**0.5)
    c.ema.ramp = 0.05  # After 100 images the half-life is 5 images.
    decay = schedules.ema_half_life(c)
    assert float(decay(10)) == pytest.approx(0.25) and float(decay(10**6)) == pytest.approx(0.5**0.5)
    assert float(decay(0)) == 0  # Nothing to average: a copy.


def test_the_ema_of_a_gan_follows_the_schedule_of_its_half_life():
    c = config()
    assert execution(c, None)["ema_decay_over_steps"] is None
    c.schedule.ema_half_life = "linear:0:20:100"
    decay = execution(c, None)["ema_decay_over_steps"]
    assert [float(decay(step)) for step in (0, 5, 90)] == pytest.approx([0, 0.5, 0.5**0.5])


def test_linear_decay_reaches_zero_at_its_end():
    share = schedules.learning_rate(config(decay="linear", decay_start=20, decay_end=100), 0.4, 5)
    np.testing.assert_allclose([share(jnp.int32(s)) for s in (0, 20, 60, 100, 200)], [1, 1, 0.5, 0, 0], rtol=1e-6)


def test_exponential_decay_is_per_update_down_to_the_least_rate():
    share = schedules.learning_rate(config(decay="exponential", decay_factor=0.5, least_lr=0.03), 0.4, 1)
    np.testing.assert_allclose([0.4 * share(jnp.int32(n)) for n in (0, 1, 3, 9)], [0.4, 0.2, 0.05, 0.03], rtol=1e-6)
    twice = schedules.learning_rate(config(decay="exponential", decay_factor=0.5), 0.4, 2)
    assert float(twice(jnp.int32(3))) == 0.5**6


def test_momentum_grows_to_its_last_value():
    at = schedules.momentum(config(momentum=0.5, last_momentum=0.7, momentum_end=10))
    np.testing.assert_allclose([at(jnp.int32(n)) for n in (0, 5, 10, 90)], [0.5, 0.6, 0.7, 0.7], rtol=1e-6)
