import numpy as np
import pytest

from biggan_jax.tools.edit.directions import brightness, saturation, slant


def test_brightness_is_that_of_the_mean_grey():
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 51, 255)])
    np.testing.assert_allclose(brightness(images), [0, 0.2, 1])


def test_saturation_is_nothing_in_grey_and_all_in_red():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(saturation(np.stack([np.full_like(red, 90), red])), [0, 1])


@pytest.mark.parametrize("background", [0, 255])
def test_slant_is_the_tangent_of_a_stroke_whatever_its_background(background):
    images = np.full((3, 17, 17, 3), background, np.uint8)
    for image, run in zip(images, (0, 1, -1), strict=True):
        for up in range(-5, 6):
            image[8 - up, 8 + run * up] = 255 - background
    # An epsilon of 1e-9 per pixel prevents division by zero for an empty picture.
    np.testing.assert_allclose(slant(images), [0, 1, -1], atol=1e-6)


def test_slant_of_an_empty_picture_is_none():
    assert slant(np.zeros((1, 8, 8, 3), np.uint8)) == pytest.approx(0)


def test_attributes_of_grey_images_are_those_of_their_rgb():
    grey = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 1), dtype=np.uint8)
    for measure in (brightness, saturation, slant):
        np.testing.assert_allclose(measure(grey), measure(grey.repeat(3, axis=-1)))
