import numpy as np
import pytest

from biggan_jax.sampling.pictures import to_uint8
from biggan_jax.tools.edit import inversion
from biggan_jax.tools.edit.inversion import invert, psnr
from biggan_jax.types import UserError


@pytest.fixture(scope="module")
def target(sampler):
    return sampler.images(sampler.latents(1, seed=9), np.array([3], np.int32), 8)[0]


@pytest.fixture(scope="module")
def found(sampler, target):
    return invert(sampler, target, label=3, candidates=16, restarts=4, steps=200)


def test_a_sample_of_the_model_itself_is_recovered(found):
    before, db = found.initial
    assert found.loss[0] < before / 3
    assert found.psnr[0] > db + 6


def test_the_restarts_come_best_first_with_the_images_that_they_make(sampler, target, found):
    assert (np.diff(found.loss) >= 0).all() and len(found.z) == 4
    assert found.y.tolist() == [3] * 4
    np.testing.assert_array_equal(found.images, to_uint8(sampler.floats(found.z, found.y, 4)))
    np.testing.assert_allclose(found.psnr, psnr(found.images, target))


def test_a_class_that_is_not_given_moves_too(sampler, target, found):
    free = invert(sampler, target, candidates=16, restarts=4, steps=10)
    assert free.y.shape == (4, 10) and np.isfinite(free.y).all()
    assert ((free.y != 0) & (free.y != 1)).any()
    assert free.loss[0] < free.initial[0]


def test_the_prior_keeps_z_short(sampler, target, found):
    kept = invert(sampler, target, label=3, candidates=16, restarts=4, steps=200, prior=1.0)
    assert np.square(kept.z).mean() < 0.5 * np.square(found.z).mean()


def test_psnr_is_the_textbooks():
    black = np.zeros((2, 4, 4, 3), np.uint8)
    white = np.full((4, 4, 3), 255, np.uint8)
    np.testing.assert_allclose(psnr(black, white), 0)
    black[1] = 245
    np.testing.assert_allclose(psnr(black, white)[1], 20 * np.log10(25.5))


def test_a_picture_of_another_shape_is_refused(sampler):
    with pytest.raises(UserError, match=r"the picture is \[16, 12, 3\], but the model generates \[16, 16, 3\]"):
        invert(sampler, np.zeros((16, 12, 3), np.uint8))


def test_the_loss_is_averaged_over_a_pyramid_of_any_image_shape():
    image = np.random.default_rng(0).uniform(-1, 1, (1, 8, 16, 1)).astype(np.float32)
    half = image.reshape(1, 4, 2, 8, 2, 1).mean((2, 4))
    expected = np.mean([np.abs(x).mean() + np.square(x).mean() for x in (image, half)]) / 2
    np.testing.assert_allclose(inversion.distance(image, np.zeros((8, 16, 1))), [expected], rtol=1e-5)
