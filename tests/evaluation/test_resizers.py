"""Resizers against the packages whose protocols they are."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from biggan_jax.evaluation import resizers
from biggan_jax.evaluation.inception import tf1_bilinear
from biggan_jax.types import UserError
from tests.evaluation import oracle

SHAPES = [(32, 32), (70, 31), (299, 299), (400, 320)]


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tf1_on_the_host_is_that_on_the_device(shape):
    # XLA fuses a multiplication and an addition, which rounds once instead of twice.
    np.testing.assert_allclose(
        resizers.tf1(noise(*shape), (37, 37)), tf1_bilinear(noise(*shape)[None], 37)[0], atol=1e-4
    )


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_antialiased_is_what_jax_calls_bilinear(shape):
    theirs = jax.image.resize(noise(*shape).astype(np.float32), (24, 24, 3), "bilinear", antialias=True)
    np.testing.assert_allclose(resizers.antialiased_bilinear(noise(*shape), (24, 24)), theirs, atol=1e-3)


def test_images_of_the_size_stay_as_they_are():
    image = noise(24, 24)
    for name in ("tf1", "clean", "clean-quantized", "antialiased"):
        np.testing.assert_array_equal(resizers.prepare(name, 24)[0](image), image, err_msg=name)
    np.testing.assert_allclose(resizers.pytorch_fid(image, (24, 24)), image * (256 / 255), rtol=1e-6)


def test_the_shorter_edge_is_resized_and_the_centre_cropped():
    image = noise(20, 41)
    prepare, words = resizers.prepare("clean", 10, crop=True)
    np.testing.assert_array_equal(prepare(image), resizers.clean(image, (10, 20))[:, 5:15])
    assert words == "clean-fid's bicubic to 10 on the shorter edge, the centre cropped"


def test_jpeg_is_that_of_pillow_and_in_the_protocol():
    image, file = noise(16, 24), io.BytesIO()
    prepare, words = resizers.prepare("clean-quantized", 16, jpeg=75)
    Image.fromarray(image).save(file, "JPEG", quality=75)
    expected = np.asarray(Image.open(file).resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(prepare(image), expected)
    assert words.endswith("after JPEG of quality 75")
    with pytest.raises(UserError, match="1 to 100, not 101"):
        resizers.as_jpeg(image, 101)


@oracle.needs("torch", "cleanfid")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_clean_is_clean_fids_bit_for_bit(shape):
    from cleanfid.resize import make_resizer

    for quantized, ours in ((False, resizers.clean), (True, resizers.clean_quantized)):
        theirs = make_resizer("PIL", quantized, "bicubic", (299, 299))(noise(*shape))
        np.testing.assert_array_equal(ours(noise(*shape), (299, 299)), theirs)


@oracle.needs("torch")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pytorch_fids_is_torchs_interpolation(shape):
    import torch

    x = torch.from_numpy(noise(*shape).transpose(2, 0, 1)[None] / np.float32(255))
    theirs = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
    # pytorch-fid maps to [-1, 1]; our networks subtract 128 and divide by 128. Rounding of numbers up to 1.
    ours = (resizers.pytorch_fid(noise(*shape), (299, 299)) - 128) / 128
    np.testing.assert_allclose(ours, oracle.from_torch(2 * theirs - 1)[0], atol=3e-6)


@oracle.needs("torch", "torch_fidelity")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tf1_is_torch_fidelitys(shape):
    theirs = oracle.tf1_resize(noise(*shape)[None].astype(np.float32), 299)[0]
    np.testing.assert_allclose(resizers.tf1(noise(*shape), (299, 299)), theirs, atol=1e-4)
