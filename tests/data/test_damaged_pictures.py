"""Properties: any bytes decode to a picture, or raise UnreadableError with a short sentence."""

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from biggan_jax.data import exact
from biggan_jax.data import picture as pictures
from biggan_jax.data.forms import Form
from biggan_jax.data.picture import UnreadableError, crop, decode, resize
from tests.data import test_shapes
from tests.data.test_picture import BOMBS
from tests.properties import damaged

# Pillow warns of damage that it tolerates.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def whole_pictures():
    """Pictures in each format, with metadata and several frames."""
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (3, 4, 4)), np.ones((6, 5, 1))).astype(np.uint8)
    rgba = Image.fromarray(smooth)
    image, palette = rgba.convert("RGB"), rgba.convert("RGB").quantize(16)
    deep = Image.fromarray(smooth[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010E: "a description"})
    profile = b"\0\0\1\0" + bytes(range(124))
    saves = [
        (image, "JPEG", {"exif": exif, "icc_profile": profile}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("L"), "JPEG", {}),
        (rgba, "PNG", {"exif": exif, "icc_profile": profile}),
        (deep, "PNG", {}),
        (palette, "PNG", {"transparency": 3}),
        (image.convert("1"), "PNG", {}),
        (rgba, "PNG", {"save_all": True, "append_images": [rgba.rotate(90)]}),
        (rgba, "WEBP", {"lossless": True, "exif": exif, "icc_profile": profile}),
        (image, "WEBP", {}),
        (rgba, "WEBP", {"save_all": True, "append_images": [rgba.rotate(90)]}),
        (palette, "GIF", {}),
        (palette, "GIF", {"save_all": True, "append_images": [palette.rotate(90)], "transparency": 2}),
        (image, "BMP", {}),
        (palette, "BMP", {}),
        (rgba, "TIFF", {"compression": "tiff_lzw", "exif": exif}),
        (image, "TIFF", {"compression": "jpeg"}),
        (deep, "TIFF", {}),
        (image.convert("F"), "TIFF", {}),
        (image.convert("LAB"), "TIFF", {}),
        (image, "AVIF", {"exif": exif}),
    ]
    for picture, form, options in saves:
        file = io.BytesIO()
        picture.save(file, form, **options)
        yield file.getvalue()


WHOLE = [*whole_pictures()]


@pytest.fixture(autouse=True, scope="module")
def small_pictures_only():
    """Skip decompression bombs, which are slow and have their own test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "MAX_PIXELS", 2**16)
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 2**16)
        yield


def pixels_or_a_sentence(read):
    try:
        return read()
    except UnreadableError as error:
        assert 0 < len(str(error)) <= 160 and "\n" not in str(error)


def test_every_undamaged_picture_is_read():
    for encoded in WHOLE:
        assert decode(encoded, upright=True).size


@given(
    st.one_of(damaged(WHOLE), damaged(WHOLE), st.sampled_from([*BOMBS.values()]), st.binary(max_size=200)),
    st.booleans(),
)
@example(b"", False)
def test_a_damaged_picture_is_pixels_or_a_sentence(encoded, upright):
    pixels = pixels_or_a_sentence(lambda: decode(encoded, upright=upright))
    if pixels is not None:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
        small = resize(crop(pixels, offset=0.3), (8, 8), "area")
        assert small.shape == (8, 8, 3) and small.dtype == np.uint8


@given(damaged(WHOLE))
def test_a_stored_damaged_picture_can_be_read_again(encoded):
    kept = pixels_or_a_sentence(lambda: Form()(encoded))
    if kept is not None:
        stored, (width, height), *_ = kept
        assert decode(stored).shape == (height, width, 3)


def exact_pictures():
    """Pictures of 16 bits and of many channels."""
    made = [write(image) for write in (exact.png, test_shapes.tiff) for image in (test_shapes.DEEP, test_shapes.COLOUR)]
    return [*made, test_shapes.pages(test_shapes.FIVE), test_shapes.npy(test_shapes.FIVE)]


@given(damaged([*WHOLE, *exact_pictures()]))
def test_a_damaged_picture_is_read_exactly_or_a_sentence(encoded):
    found = pixels_or_a_sentence(lambda: exact.read(encoded))
    if found is not None:
        assert found.image.dtype in (np.uint8, np.uint16) and found.image.ndim == 3 and found.image.size


@given(damaged(WHOLE), st.integers(0, 64))
def test_a_damaged_picture_as_draft_is_pixels_or_a_sentence(encoded, at_least):
    pixels = pixels_or_a_sentence(lambda: decode(encoded, at_least=at_least))
    assert pixels is None or pixels.dtype == np.uint8


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.floats(0, 1),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["area", *pictures.FILTERS]),
)
def test_any_picture_becomes_one_of_any_shape(height, width, offset, shape, how):
    image = np.full((height, width, 3), 7, np.uint8)
    found = resize(crop(image, shape, offset), shape, how)
    assert found.shape == (*shape, 3) and found.dtype == np.uint8 and (found == 7).all()
