"""What is stored of a picture: padding, least sizes, broken metadata, what summaries name."""

import struct
import zlib

import numpy as np
import pytest

from biggan_jax.data import exact, forms, picture, stats
from biggan_jax.data.picture import UnreadableError
from tests import cli
from tests.data import conftest
from tests.data.conftest import encode

WIDE = conftest.picture(0, 0)[:20, :40]


def png_with(kind, data, crc=0):
    """A PNG with another chunk after its header. crc: an error of its checksum."""
    whole, body = encode(WIDE), kind + data
    return whole[:33] + struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body) ^ crc) + whole[33:]


BROKEN = {
    "checksum": png_with(b"tEXt", b"a\0b", crc=1),
    "exif": png_with(b"eXIf", b"garbage"),
    "resolution": png_with(b"pHYs", b"1"),
    "gamma": png_with(b"gAMA", b""),
    "bomb of text": png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**26))),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_png_with_broken_metadata_keeps_its_pixels(case):
    with pytest.raises(UnreadableError):
        picture.decode(BROKEN[case], upright=True)
    for form in (forms.Form(), forms.Form((20, 40)), forms.Form((20, 40), channels=3, bits=8)):
        kept = form(BROKEN[case])
        assert kept.notes[-1] == forms.REPAIRED
        pixels = np.frombuffer(kept.data, np.uint8).reshape(20, 40, 3) if form.size else picture.decode(kept.data)
        np.testing.assert_array_equal(pixels, WIDE)


def test_a_png_with_broken_pixels_stays_unreadable():
    whole = bytearray(encode(WIDE))
    whole[whole.index(b"IDAT") + 8] ^= 255
    for encoded in (bytes(whole), encode(WIDE)[:80], b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(UnreadableError):
            forms.Form()(encoded)


def test_metadata_is_taken_from_a_jpeg_alone():
    plain = encode(WIDE, "JPEG")
    segment = b"Exif\0\0" + bytes(range(60))
    more = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert picture.without_metadata(more) == picture.without_metadata(plain) == plain
    for other in (b"", b"\xff\xd8\xff", plain[:30], b"GIF89a"):
        assert picture.without_metadata(other) == other


@pytest.mark.parametrize(("crop", "border"), [("pad", 0), ("pad_white", 255)])
def test_padding_keeps_the_whole_picture(crop, border):
    kept = forms.Form(40, crop=crop)(encode(WIDE))
    pixels = np.frombuffer(kept.data, np.uint8).reshape(40, 40, 3)
    np.testing.assert_array_equal(pixels[10:30], WIDE)
    assert (pixels[:10] == border).all() and (pixels[30:] == border).all()
    tall = picture.pad(np.ones((5, 2, 1), np.uint16), (1, 2), 7)
    assert tall.shape == (5, 10, 1) and tall.sum() == 10 + 40 * 7


def test_small_pictures_are_left_out_and_named(tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    for i, edge in enumerate((16, 32, 48)):
        (tmp_path / f"in/a/{i}.png").write_bytes(
            encode(np.arange(edge * edge * 3, dtype=np.uint8).reshape(edge, edge, 3))
        )
    flags = "--workers=1", "--from=folder", f"--in={tmp_path / 'in'}"
    result = cli.run("data.prepare", *flags, f"--out={tmp_path / 'out'}", "--size=40", "--min_size=32", "--crop=pad")
    assert result.returncode == 0, result.stderr
    assert "train: 2 images in 1 class" in result.stderr
    assert "1 pictures are below the least size, and were left out: a/0.png (16 x 16)" in result.stderr
    assert f"of 1 images, {forms.ENLARGED}" in result.stderr
    none = cli.run("data.prepare", *flags, f"--out={tmp_path / 'none'}", "--min_size=99")
    cli.refused(none, "no picture can be read; all are below --min_size=99")
    cli.refused(cli.run("data.prepare", *flags, f"--out={tmp_path / 'x'}", "--crop=pad"), "--crop=pad needs --size")


def test_nearly_constant_pictures_are_named(tmp_path):
    root = conftest.make_folder(tmp_path / "p", each=2)
    dim = np.full((20, 20, 3), 100, np.uint8)
    dim[0, 0] = 116
    (root / "red/dim.png").write_bytes(encode(dim))
    out = conftest.prepared(root, tmp_path / "out")
    source = conftest.opened(out)
    line = "1 pictures are nearly constant: all values lie within 16 of 255 levels: "
    assert line + "red/dim.png" in stats.lines(source.checked)
    (out / stats.FILE).unlink()
    assert any(text.startswith(line) and "red/dim.png" in text for text in stats.lines(stats.summarize(source)))


def test_imbalance_beyond_20_to_1_is_a_line():
    labels = [0] * 201 + [1] * 10
    assert not any("imbalanced" in line for line in stats.lines(stats.summary(labels[1:], ["a", "b"])))
    found = stats.summary(labels, ["a", "b"])
    line = "classes are imbalanced: the largest has 20 times the images of the smallest"
    assert f"{line}; --config.data.balance=True draws classes evenly in training" in stats.lines(found)
    assert line in stats.lines(found, advise=False)


@pytest.mark.parametrize("cut", [12, 5, 1])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("size", [0, 8])
def test_a_png_without_its_end_keeps_its_pixels_and_is_noted(cut, deep, size):
    pixels = np.arange(16 * 16 * 3).reshape(16, 16, 3) * (80 if deep else 1)
    whole = exact.png(pixels.astype(np.uint16 if deep else np.uint8))
    form = forms.Form(size, channels=3, bits=16) if deep else forms.Form(size)
    expected, kept = form(whole), form(whole[:-cut])
    assert kept == expected._replace(notes=(*expected.notes, forms.ENDED))
    with pytest.raises(picture.UnreadableError):
        form(whole[:-60])
