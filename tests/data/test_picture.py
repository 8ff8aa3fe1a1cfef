import io

import numpy as np
import pytest
from PIL import Image

from biggan_jax.data import picture as pictures
from biggan_jax.data.picture import UnreadableError, decode, resize, square
from tests.data.conftest import encode


@pytest.fixture
def smooth():
    """A smooth colour picture, 60 wide and 40 high."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 255 - 4 * x], -1).clip(0, 255).astype(np.uint8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_is_decoded_as_pillow_does_to_the_bit(quality, subsampling):
    encoded = encode(noise(61, 83), "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(io.BytesIO(encoded)) as image:
        np.testing.assert_array_equal(decode(encoded), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_read_by_what_they_hold_not_by_their_name(form, smooth):
    options = {"lossless": True} if form == "WEBP" else {}
    # A GIF has 256 colours of its own.
    assert np.abs(decode(encode(smooth, form, **options)).astype(int) - smooth).mean() < (8 if form == "GIF" else 1e-9)


def save(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_gray_palette_and_16_bit_pictures_become_rgb(smooth):
    gray = Image.fromarray(smooth).convert("L")
    expected = np.asarray(gray)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(decode(save(gray)), expected)
    np.testing.assert_array_equal(
        decode(save(gray, "JPEG")), np.asarray(Image.open(io.BytesIO(save(gray, "JPEG"))).convert("RGB"))
    )
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(save(deep)), expected)
    palette = Image.fromarray(smooth).quantize(64)
    np.testing.assert_array_equal(decode(save(palette)), np.asarray(palette.convert("RGB")))


def test_what_is_transparent_lies_on_white(smooth):
    rgba = np.dstack([smooth, np.zeros(smooth.shape[:2], np.uint8)])
    rgba[:20, :, 3] = 255
    shown = decode(save(Image.fromarray(rgba)))
    np.testing.assert_array_equal(shown[:20], smooth[:20])
    assert (shown[20:] == 255).all()


def test_cmyk_has_the_colours_that_pillow_gives_it(smooth):
    encoded = save(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=95)
    shown = decode(encoded)
    assert np.abs(shown.astype(int) - smooth).mean() < 6


def test_exif_turns_a_picture_only_if_asked(smooth):
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees clockwise.
    encoded = save(Image.fromarray(smooth), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(encoded), smooth)
    np.testing.assert_array_equal(decode(encoded, upright=True), np.rot90(smooth, -1))


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\xff\xd8", b"nonsense", encode(noise(40, 40), "JPEG")[:600], encode(noise(40, 40), "PNG")[:600]],
    ids=["empty", "two bytes", "text", "half a JPEG", "half a PNG"],
)
def test_what_cannot_be_read_says_so(encoded):
    with pytest.raises(UnreadableError):
        decode(encoded)


def test_enormous_dimensions_are_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1000)
    for form in ("PNG", "JPEG"):
        with pytest.raises(UnreadableError, match="40 x 30 pixels are more than 1,000"):
            decode(encode(noise(30, 40), form))


def test_the_square_is_central_or_lies_where_asked_along_the_long_edge(smooth):
    np.testing.assert_array_equal(square(smooth), smooth[:, 10:50])
    np.testing.assert_array_equal(square(smooth, 0.0), smooth[:, :40])
    np.testing.assert_array_equal(square(smooth.transpose(1, 0, 2), 0.999), smooth.transpose(1, 0, 2)[19:59])


def test_area_averages_areas_exactly():
    image = noise(40, 40)
    halved = image.reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(resize(image, 20, "area") - halved).max() <= 0.5
    # 40 to 16: areas of 2.5 pixels, which are 5 halves of pixels.
    areas = image.repeat(2, 0).repeat(2, 1).reshape(16, 5, 16, 5, 3).mean((1, 3))
    assert np.abs(resize(image, 16, "area") - areas).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos"])
def test_pillows_filters_are_pillows(how):
    image = noise(50, 50)
    expected = Image.fromarray(image).resize((16, 16), getattr(Image.Resampling, how.upper()))
    np.testing.assert_array_equal(resize(image, 16, how), np.asarray(expected))


def test_small_pictures_are_enlarged_smoothly(smooth):
    enlarged = resize(square(smooth), 128, "area")
    assert enlarged.shape == (128, 128, 3)
    assert np.abs(np.diff(enlarged.astype(int), axis=1)).max() <= 4


def test_a_draft_is_near_what_full_decoding_gives():
    big = np.asarray(Image.fromarray(noise(6, 8)).resize((400, 300), Image.Resampling.BICUBIC))
    encoded = encode(big, "JPEG", quality=95)
    assert decode(encoded, at_least=64).shape == (75, 100, 3), "the least eighth with both edges long enough"
    full = resize(square(decode(encoded)), 64, "area").astype(int)
    draft = resize(square(decode(encoded, at_least=64)), 64, "area")
    assert np.abs(draft - full).mean() < 4
