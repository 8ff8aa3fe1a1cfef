import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.data import builtin, make_source
from biggan_jax.types import UserError


def source(name, shape, split="train", classes=0):
    c = base("sngan")
    c.data.name, c.model.image_shape, c.model.num_classes = name, shape, classes
    return make_source(c, split)


@pytest.mark.parametrize(("name", "modes"), [("gaussians8", 8), ("gaussians25", 25)])
def test_real_points_cover_all_modes(name, modes):
    points = source(name, (2,)).read(np.arange(5000))
    covered, near = builtin.coverage(name, points.images)
    assert covered == modes and 0.98 < near < 1  # 98.9 % of a Gaussian in the plane are within 3 deviations.
    centres, _ = builtin.MODES[name]
    np.testing.assert_allclose(points.images, centres[points.labels], atol=0.15)


def test_points_of_one_mode_cover_one():
    assert builtin.coverage("gaussians8", np.tile(builtin.RING[3], (9, 1))) == (1, 1.0)
    assert builtin.coverage("gaussians8", np.zeros((9, 2))) == (0, 0.0)


def test_the_swiss_roll_is_a_spiral():
    points = source("swiss_roll", (2,)).read(np.arange(1000)).images
    radius = np.linalg.norm(points, axis=1) * 7.5
    assert points.shape == (1000, 2) and 3.5 < radius.min() < 6 and 13 < radius.max() < 16


def test_splits_of_points_differ():
    one, other = (source("gaussians8", (2,), split).images for split in ("train", "test"))
    assert len(one) == 100_000 and len(other) == 10_000 and not np.array_equal(one[:100], other[:100])


def test_points_need_a_model_of_points():
    with pytest.raises(UserError, match=r"points of shape \(2,\)"):
        source("gaussians8", (32, 32, 3))


def test_stacked_digits_have_their_labels():
    stacked = source("stacked_mnist", (32, 32, 3), classes=1000)
    read = stacked.read(np.array([0, 1, 0]))
    assert len(stacked) == 25_600 and read.images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(read.images[0], read.images[2])
    singles = source("mnist5k", (32, 32, 1)).images[..., 0]
    labels = source("mnist5k", (32, 32, 1)).labels
    for image, label in zip(read.images, read.labels, strict=True):
        found = [labels[(singles == image[..., i]).all((1, 2))][0] for i in range(3)]
        assert label == 100 * found[0] + 10 * found[1] + found[2]


def test_stacked_digits_have_three_channels():
    with pytest.raises(UserError, match="3 channels, not of 1"):
        source("stacked_mnist", (32, 32, 1))


def test_digits_of_28_pixels_are_those_of_32_without_their_margin():
    small, large = (source("mnist5k", (size, size, 1)).images for size in (28, 32))
    np.testing.assert_array_equal(small, large[:, 2:-2, 2:-2])
