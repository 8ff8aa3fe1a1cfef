"""Progressive growing: its schedule against a simulation of it, image by image, and its images."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import data, growth
from biggan_jax.config import base
from biggan_jax.growth import REPEATS, Growth
from biggan_jax.types import UserError

SCHEDULES = [
    Growth(3, 0, 100, 60, (16, 8, 8, 4), (1.0, 1.0, 2.0, 3.0)),
    Growth(2, 0, 0, 50, (8, 8, 8), (1.0,) * 3),
    Growth(2, 1, 64, 0, (8, 8, 4), (1.0,) * 3),
    Growth(2, 2, 0, 0, (8, 8, 8), (1.0,) * 3),
]


def simulated(own, steps):
    """Return (lod, stage, images seen before) of each step, as the authors' loop has them."""
    found, images = [], 0
    for step in range(steps):
        if step % REPEATS == 0:
            period = own.train_images + own.fade_images
            phase, left = divmod(images, period) if period else (0, 0)
            lod = own.last - own.first - phase
            if own.fade_images:
                lod -= max(left - own.train_images, 0) / own.fade_images
            lod = max(lod, 0)
            stage = own.last - math.floor(lod)
        found.append((lod, stage, images))
        images += own.batch_sizes[stage]
    return found


@pytest.mark.parametrize("own", SCHEDULES)
def test_the_schedule_is_that_of_a_loop_over_images(own):
    expected = simulated(own, 120)
    assert expected[-1][0] == 0
    lods, factors, resets = jax.jit(
        jax.vmap(lambda step: (own.lod_at(step), own.lr_factor_at(step), own.resets_at(step)))
    )(jnp.arange(120))
    np.testing.assert_allclose(lods, [lod for lod, *_ in expected], atol=1e-6)
    assert [own.stage_at(step) for step in range(120)] == [stage for _, stage, _ in expected]
    assert [own.images_at(step) for step in range(120)] == [images for *_, images in expected]
    np.testing.assert_array_equal(factors, [own.lr_factors[stage] for _, stage, _ in expected])
    ends = lambda lod: (math.floor(lod), math.ceil(lod))
    changes = [i > 0 and ends(lod) != ends(expected[i - 1][0]) for i, (lod, *_) in enumerate(expected)]
    np.testing.assert_array_equal(resets, changes)


def config(**model):
    c = base("progan")
    c.batch_size = 8
    c.model.update(model)
    return c


@pytest.mark.parametrize(
    ("shape", "start", "last", "first"),
    [
        ((32, 32, 3), 4, 3, 0),
        ((28, 28, 1), 14, 2, 1),
        ((1024, 1024, 3), 8, 8, 1),
        ((48, 64, 3), 48, 3, 3),
        ((5, 7, 3), 5, 0, 0),
    ],
)
def test_images_double_from_at_least_four_pixels(shape, start, last, first):
    own = growth.of(config(image_shape=shape, start_size=start))
    assert (own.last, own.first) == (last, first)


def test_stages_beyond_the_lists_have_the_defaults():
    own = growth.of(config(batch_sizes=(32, 16), lr_factors=(0.5,)))
    assert own.batch_sizes == (32, 16, 8, 8) and own.lr_factors == (0.5, 1.0, 1.0, 1.0)
    assert growth.of(base("r3gan")) is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"start_size": 5}, "have the stages 4, 8, 16, 32"),
        ({"image_shape": (3, 3, 3)}, "must be at least 4"),
        ({"image_shape": (32, 32)}, "is not .height, width, channels."),
        ({"batch_sizes": (8,) * 5}, "5 entries, but there are 4 stages"),
        ({"lr_factors": (1.0, 0.0)}, "each entry must be greater than 0"),
        ({"train_images": 0, "fade_images": 0}, "set model.start_size=32"),
    ],
)
def test_a_growth_that_cannot_be_is_refused(model, words):
    with pytest.raises(UserError, match=words):
        growth.of(config(**model))


def test_data_are_read_in_the_batches_and_sizes_of_their_stages():
    c = config(image_shape=(16, 16, 3), train_images=40, fade_images=24, batch_sizes=(16, 8))
    c.batch_size, c.d_steps, c.data.flip, c.data.name = 4, 1, False, "fake"
    make, own = data.host_batches(data.make_source(c), c, 0), growth.of(c)
    c.model.start_size = 16
    whole = data.host_batches(data.make_source(c), c, 0)
    full = np.concatenate([whole(step)[0]["image"][0] for step in range(100)])
    for step in range(24):
        images = make(step)[0]["image"][0]
        stage, seen = own.stage_at(step), own.images_at(step)
        assert images.shape == (own.batch_sizes[stage], 4 << stage, 4 << stage, 3)
        np.testing.assert_array_equal(images, growth.reduced(full[seen : seen + len(images)], 4 >> stage))
    assert stage == 2


def test_reduced_images_are_means_rounded_to_even():
    images = np.array([[0, 1], [1, 0], [1, 2], [2, 1], [255, 255], [254, 255]], np.uint8).reshape(3, 2, 2, 1)
    np.testing.assert_array_equal(growth.reduced(images, 2).ravel(), [0, 2, 255])
    exact = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(growth.reduced(exact, 4)[1, 1, 0], exact[1, 4:, :4].mean((0, 1)), rtol=1e-5)


def test_a_blend_is_exactly_either_image_at_its_ends():
    new, old = np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32)
    np.testing.assert_array_equal(growth.blend(new, old, jnp.float32(0)), new)
    np.testing.assert_array_equal(growth.blend(new, old, jnp.float32(1)), old)
    np.testing.assert_allclose(growth.blend(new, old, jnp.float32(0.25)), 0.75 * new + 0.25 * old, rtol=1e-6)


def test_a_scaled_gradient_leaves_the_value():
    x, w = jnp.array([0.3, -2.0]), jnp.array([1.0, 3.0])
    slope = lambda w: jax.grad(lambda x: growth.scale_gradient(x, 0.25) @ w)(x)
    np.testing.assert_array_equal(growth.scale_gradient(x, 0.25), x)
    np.testing.assert_allclose(slope(w), 0.25 * w)
    np.testing.assert_allclose(jax.grad(lambda w: jnp.sum(slope(w) ** 2))(w), 2 * 0.25**2 * w)
