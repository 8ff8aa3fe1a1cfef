import jax
import numpy as np

from biggan_jax import augment

X = np.random.default_rng(0).uniform(-1, 1, (64, 16, 16, 3)).astype(np.float32)


def test_translation_shifts_whole_images_and_fills_with_grey():
    y = np.asarray(augment.apply(X, jax.random.key(0), ("translation",)))
    padded = np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))
    shifts = set()
    for image, source in zip(y, padded, strict=True):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if np.allclose(image, source[dy : dy + 16, dx : dx + 16], atol=1e-6)
        ]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 15, "most of the 25 shifts occur"


def test_gradients_flow_through_translation():
    gradient = jax.grad(lambda x: augment.apply(x, jax.random.key(0), ("translation",)).sum())(X)
    assert set(np.unique(gradient.round(5))) <= {0.0, 1.0}
    assert np.mean(gradient) > 0.7


def test_no_policy_changes_nothing():
    np.testing.assert_array_equal(augment.apply(X, jax.random.key(0), ()), X)


def test_colour_changes_each_image_differently():
    y = np.asarray(augment.apply(X, jax.random.key(0), ("colour",)))
    alone = lambda x: (x - x.mean((1, 2, 3), keepdims=True)).mean(3)
    grey, before = alone(y), alone(X)
    # Contrast scales an image's deviation from its mean, averaged over channels to exclude saturation.
    ratio = (grey * before).sum((1, 2)) / (before**2).sum((1, 2))
    np.testing.assert_allclose(grey, ratio[:, None, None] * before, atol=1e-4)
    assert ratio.min() >= 0.5 - 1e-4 and ratio.max() <= 1.5 + 1e-4 and ratio.std() > 0.2
    brightness = (y - X).mean((1, 2, 3))
    assert np.abs(brightness).max() <= 0.5 + 1e-4 and brightness.std() > 0.2


def test_cutout_greys_one_square_of_half_the_size():
    y = np.asarray(augment.apply(X, jax.random.key(0), ("cutout",)))
    holes = (y == 0).all(3)
    sizes, tops = set(), set()
    for image, source, hole in zip(y, X, holes, strict=True):
        np.testing.assert_array_equal(image[~hole], source[~hole])
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a full rectangle"
        sizes.add((len(rows), len(columns)))
        tops |= {rows[0], columns[0]}
    assert max(sizes) == (8, 8) and min(min(size) for size in sizes) >= 4, "centres lie inside the image"
    assert max(tops) == 12, "centres lie also on the far edge"


def test_policies_are_applied_in_order():
    key = jax.random.key(0)
    first, second = jax.random.split(key, 2)
    expected = augment.cutout(augment.colour(X, first), second)
    np.testing.assert_allclose(augment.apply(X, key, ("colour", "cutout")), expected, atol=1e-6)


def test_a_policy_may_be_written_with_commas(config):
    from biggan_jax.models import build_gan

    config.augment.policy = ("colour,cutout",)
    assert build_gan(config).augment_policy == ("colour", "cutout")
