import numpy as np

from biggan_jax.tools.edit.arithmetic import class_weights, rescaled, weighted_sum


def test_classes_add_up_and_a_class_twice_counts_twice():
    weights = class_weights([(1, 2), (-1, 0), (0.5, 2), (0.5, 3)], 4)
    assert weights.tolist() == [-1, 0, 1.5, 0.5] and weights.dtype == np.float32


def test_a_class_alone_makes_the_images_of_its_id(sampler):
    z = sampler.latents(2)
    weights = np.repeat(class_weights([(1, 7)], 10)[None], 2, axis=0)
    # A lookup in a table and a product with a one-hot row differ by rounding.
    np.testing.assert_allclose(
        sampler.floats(z, weights, 8), sampler.floats(z, np.array([7, 7], np.int32), 8), atol=1e-6
    )


def test_latents_add_up():
    rows = np.array([[1, 2], [3, 4], [5, 7]], np.float32)
    np.testing.assert_array_equal(weighted_sum([1, -1, 0.5], rows), [0.5, 1.5])


def test_a_rescaled_sum_has_its_direction_and_its_terms_norm():
    rows = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    total = weighted_sum([1, -1, 1], rows)
    scaled = rescaled(total, rows)
    np.testing.assert_allclose(np.linalg.norm(scaled), np.linalg.norm(rows, axis=1).mean(), rtol=1e-6)
    np.testing.assert_allclose(scaled / np.linalg.norm(scaled), total / np.linalg.norm(total), rtol=1e-5)
    assert not rescaled(total - total, rows).any(), "nothing has no direction"
