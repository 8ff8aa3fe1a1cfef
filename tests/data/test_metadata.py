"""Pictures with floods of metadata: refused by number, dropped by size, and others decode as before."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from biggan_jax.data import picture
from biggan_jax.data.metadata import MOST, FloodError, lean
from biggan_jax.data.picture import UnreadableError, decode

PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (2, 3, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def chunk(kind, data=b""):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


JPEG, PNG, GIF = encoded("JPEG"), encoded("PNG"), encoded("GIF")
TABLE = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)
FLOODS = {
    "jpeg": lambda n: JPEG[:2] + b"\xff\xfe\0\2" * n + JPEG[2:],
    "jpeg of jfif": lambda n: JPEG[:2] + b"\xff\xe0\0\2" * n + JPEG[2:],
    "png": lambda n: PNG[:33] + chunk(b"tEXt", b"a\0b") * n + PNG[33:],
    "gif": lambda n: GIF[:TABLE] + b"\x21\xfe" + b"\1a" * n + b"\0" + GIF[TABLE:],
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("upright", [False, True])
def test_floods_of_metadata_are_refused_in_a_sentence(flood, upright):
    with pytest.raises(UnreadableError, match="more than 1,000"):
        decode(FLOODS[flood](10 * MOST), upright=upright)
    with pytest.raises(UnreadableError, match="more than 1,000"), picture.opened(FLOODS[flood](10 * MOST)):
        pass


@pytest.mark.parametrize("flood", FLOODS)
def test_some_metadata_do_not_matter(flood):
    np.testing.assert_array_equal(decode(FLOODS[flood](100)), decode(FLOODS[flood](0)))


def test_large_metadata_of_a_jpeg_are_dropped_but_its_orientation():
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg = encoded("JPEG", exif=turned)
    large = jpeg[:2] + (b"\xff\xe2\xff\xff" + bytes(65533)) * 40 + jpeg[2:]
    assert len(lean(large)) == len(jpeg) and lean(jpeg) is jpeg
    np.testing.assert_array_equal(decode(large, upright=True), decode(jpeg, upright=True))
    assert decode(large, upright=True).shape == (24, 16, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", PNG[:20], JPEG[:30], b"\xff\xd8\xff\xfe\xff\xff"]
)
def test_what_is_cut_off_is_left_to_the_decoder(data):
    assert lean(data) == data
    with pytest.raises(UnreadableError):
        decode(data)
    assert issubclass(FloodError, ValueError)
