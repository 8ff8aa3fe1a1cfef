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
    assert len(shifts) > 15, "nearly all of the 25 shifts occur"


def test_gradients_flow_through_it():
    gradient = jax.grad(lambda x: augment.apply(x, jax.random.key(0), ("translation",)).sum())(X)
    assert set(np.unique(gradient.round(5))) <= {0.0, 1.0}
    assert np.mean(gradient) > 0.7


def test_no_policy_changes_nothing():
    np.testing.assert_array_equal(augment.apply(X, jax.random.key(0), ()), X)
