import numpy as np
import pytest
from PIL import Image

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


def test_only_pixels_that_count_are_matched(sampler, target, found):
    """The same target, whose lower half is painted over, is matched in its upper half alone."""
    mask = np.zeros((16, 16), np.float32)
    mask[:8] = 1
    painted = target.copy()
    painted[8:] = 255 - painted[8:]
    options = {"label": 3, "candidates": 16, "restarts": 4, "steps": 200}
    masked = invert(sampler, painted, mask=mask, **options)
    free = invert(sampler, target, mask=mask, **options)
    np.testing.assert_array_equal(masked.z, free.z)  # What is painted over is not seen.
    assert masked.psnr[0] > masked.initial[1] + 6
    np.testing.assert_allclose(masked.psnr, psnr(masked.images[:, :8], target[:8]))


def test_a_mask_of_all_pixels_changes_nothing(sampler, target):
    images, wanted = sampler.floats(sampler.latents(3), np.arange(3)), target / np.float32(127.5) - 1
    plain = inversion.distance(images, wanted)
    np.testing.assert_allclose(
        inversion.masked_distance(images, wanted, np.ones((16, 16), np.float32)), plain, rtol=1e-5
    )
    np.testing.assert_array_equal(inversion.masked_distance(images, wanted, None), plain)


def test_a_sketch_is_read_with_its_mask(tmp_path):
    """Red strokes on a transparent picture, or with a mask of their own, keep their colour when they are made smaller."""
    strokes = np.zeros((8, 8, 4), np.uint8)
    strokes[:3, :, 0], strokes[:3, :, 3] = 200, 255
    Image.fromarray(strokes).save(tmp_path / "rgba.png")
    Image.fromarray(strokes[..., :3]).save(tmp_path / "rgb.png")
    Image.fromarray(strokes[..., 3]).save(tmp_path / "mask.png")
    for picture, mask in (("rgba.png", "alpha"), ("rgb.png", str(tmp_path / "mask.png"))):
        image, counts = inversion.read_sketch(str(tmp_path / picture), mask, (4, 4, 3))
        np.testing.assert_allclose(counts[:, 0], [1, 0.5, 0, 0])
        assert image[:, 0].tolist() == [[200, 0, 0]] * 2 + [[255] * 3] * 2
    assert inversion.read_sketch(str(tmp_path / "rgba.png"), "alpha", (4, 4, 1))[0].shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("picture", "mask", "sentence"),
    [
        ("rgb.png", "alpha", "--mask=alpha: .*rgb.png has no transparent pixels"),
        ("rgb.png", "small.png", "rgb.png is 8 x 8 pixels, but .*small.png is 4 x 4"),
        ("rgb.png", "rgb.png", "no pixel of the central region counts"),
        ("rgb.png", "none.png", "--mask=.*none.png cannot be read"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(picture, mask, sentence, tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "rgb.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=sentence):
        inversion.read_sketch(str(tmp_path / picture), mask if mask == "alpha" else str(tmp_path / mask), (4, 4, 3))
