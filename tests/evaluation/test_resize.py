import jax
import numpy as np
import pytest

from biggan_jax.evaluation.inception import tf1_bilinear
from tests.evaluation import oracle


def noise(height, width):
    return np.random.default_rng(0).random((2, height, width, 3), np.float32)


def by_pixel(image, size):
    """Resize one image, one output pixel at a time."""
    height, width, channels = image.shape
    out = np.empty((size, size, channels))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] * (left + 1 - x) + image[top, right] * (x - left)
            lower = image[bottom, left] * (left + 1 - x) + image[bottom, right] * (x - left)
            out[i, j] = upper * (top + 1 - y) + lower * (y - top)
    return out


@pytest.mark.parametrize("shape", [(8, 8), (13, 40), (70, 31)], ids=str)
def test_each_pixel_interpolates_four_pixels_of_the_source(shape):
    x = noise(*shape)
    # float32 rounding of a source position of up to about 70, times the difference of two pixels.
    np.testing.assert_allclose(tf1_bilinear(x, 37)[1], by_pixel(x[1], 37), atol=2e-5)


def test_it_is_not_what_jax_calls_bilinear():
    x = noise(32, 32)
    theirs = jax.image.resize(x, (2, 299, 299, 3), "bilinear")
    assert np.abs(tf1_bilinear(x, 299) - theirs).max() > 0.3


def test_bytes_become_floats_in_their_own_units():
    x = (noise(5, 5) * 255).astype(np.uint8)
    y = tf1_bilinear(x, 5)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x)


@oracle.needs("torch", "torch_fidelity")
@pytest.mark.parametrize("size", [32, 128, 299, 320, 512])
def test_it_is_torch_fidelitys(size):
    x = noise(size, size + 3)
    # Rounding of three fused multiply-adds of numbers up to 1.
    np.testing.assert_allclose(tf1_bilinear(x, 299), oracle.tf1_resize(x, 299), atol=1e-6)
