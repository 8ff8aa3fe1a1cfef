import io
import pathlib
import struct
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from PIL import Image

from biggan_jax.data import picture as pictures
from biggan_jax.data.picture import UnreadableError, crop, decode, resize, to_gray
from tests.data.conftest import encode


@pytest.fixture
def smooth():
    """Return a smooth colour picture, 60 wide and 40 high."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 255 - 4 * x], -1).clip(0, 255).astype(np.uint8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_is_decoded_to_the_same_bits_as_pillow(quality, subsampling):
    encoded = encode(noise(61, 83), "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(io.BytesIO(encoded)) as image:
        np.testing.assert_array_equal(decode(encoded), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_format_is_recognized_by_its_content(form, smooth):
    options = {"lossless": True} if form == "WEBP" else {}
    # A GIF has a palette of 256 colours.
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


def test_alpha_is_composited_on_white(smooth):
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
    exif[0x0112] = 6  # EXIF orientation: rotate by 90 degrees clockwise.
    encoded = save(Image.fromarray(smooth), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(encoded), smooth)
    np.testing.assert_array_equal(decode(encoded, upright=True), np.rot90(smooth, -1))


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\xff\xd8", b"nonsense", encode(noise(40, 40), "JPEG")[:600], encode(noise(40, 40), "PNG")[:600]],
    ids=["empty", "two bytes", "text", "half a JPEG", "half a PNG"],
)
def test_damaged_bytes_are_unreadable(encoded):
    with pytest.raises(UnreadableError):
        decode(encoded)


def test_enormous_dimensions_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    for form in ("PNG", "JPEG"):
        with pytest.raises(UnreadableError, match="40 x 30 pixels are not 1 to 1,000"):
            decode(encode(noise(30, 40), form))


def test_the_crop_is_central_or_at_its_offset(smooth):
    np.testing.assert_array_equal(crop(smooth), smooth[:, 10:50])
    np.testing.assert_array_equal(crop(smooth, offset=0.0), smooth[:, :40])
    np.testing.assert_array_equal(crop(smooth.transpose(1, 0, 2), offset=0.999), smooth.transpose(1, 0, 2)[19:59])


def test_the_crop_is_the_largest_of_its_aspect_ratio(smooth):
    """40 pixels high, 60 wide."""
    for shape, rows, columns in (((2, 3), 40, 60), ((64, 32, 3), 40, 20), ((1, 2), 30, 60), ((1, 100), 1, 60)):
        height, width = crop(smooth, shape).shape[:2]
        assert (height, width) == (rows, columns), shape
        assert resize(crop(smooth, shape), shape, "area").shape == (*shape[:2], 3)
    np.testing.assert_array_equal(crop(smooth, (1, 2), 1.0), smooth[10:])


def test_gray_is_pillows_luma(smooth):
    np.testing.assert_array_equal(to_gray(smooth)[..., 0], np.asarray(Image.fromarray(smooth).convert("L")))


def test_area_averages_areas_exactly():
    image = noise(40, 40)
    halved = image.reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(resize(image, (20, 20), "area") - halved).max() <= 0.5
    # From 40 to 16: areas of 2.5 pixels, computed as 5 half pixels.
    areas = image.repeat(2, 0).repeat(2, 1).reshape(16, 5, 16, 5, 3).mean((1, 3))
    assert np.abs(resize(image, (16, 16), "area") - areas).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos"])
def test_pillows_filters_are_pillows(how):
    image = noise(50, 50)
    expected = Image.fromarray(image).resize((16, 16), getattr(Image.Resampling, how.upper()))
    np.testing.assert_array_equal(resize(image, (16, 16), how), np.asarray(expected))


def test_small_pictures_are_enlarged_smoothly(smooth):
    enlarged = resize(crop(smooth), (128, 128), "area")
    assert enlarged.shape == (128, 128, 3)
    assert np.abs(np.diff(enlarged.astype(int), axis=1)).max() <= 4


def test_a_draft_is_near_what_full_decoding_gives():
    big = np.asarray(Image.fromarray(noise(6, 8)).resize((400, 300), Image.Resampling.BICUBIC))
    encoded = encode(big, "JPEG", quality=95)
    assert decode(encoded, at_least=64).shape == (75, 100, 3), "the least eighth with both edges long enough"
    full = resize(crop(decode(encoded)), (64, 64), "area").astype(int)
    draft = resize(crop(decode(encoded, at_least=64)), (64, 64), "area")
    assert np.abs(draft - full).mean() < 4


def test_conversion_in_bands_gives_the_same_pixels(monkeypatch, smooth):
    rgba = Image.fromarray(np.dstack([smooth, smooth[..., 0]]))
    deep = Image.fromarray(np.asarray(rgba.convert("L")).astype(np.uint16) * 257)
    palette = save(Image.fromarray(smooth).quantize(64), "PNG", transparency=3)
    for encoded in (save(rgba), save(deep), palette, save(rgba.convert("CMYK"), "TIFF"), save(rgba, "TIFF")):
        whole = decode(encoded, upright=True)
        with monkeypatch.context() as m:
            m.setattr(pictures, "BAND_PIXELS", 7 * 60)
            np.testing.assert_array_equal(decode(encoded, upright=True), whole)


def test_transparency_is_composited_as_pillow_does(smooth):
    rgba = Image.fromarray(np.dstack([smooth, smooth[..., 0]]))
    white = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    np.testing.assert_array_equal(decode(save(rgba)), np.asarray(white.convert("RGB")))


def test_a_program_that_draws_is_not_a_picture(smooth):
    """Pillow would run an EPS file in Ghostscript."""
    encoded = save(Image.fromarray(smooth), "EPS")
    with pytest.raises(UnreadableError, match="not a picture"):
        decode(encoded)


def test_pixels_that_are_not_numbers_are_black():
    image = Image.fromarray(np.array([[np.nan, np.inf], [-np.inf, 7]], np.float32))
    assert decode(save(image, "TIFF"))[..., 0].tolist() == [[0, 255], [0, 7]]


def png(width, height, depth=8, colour=2, raw=b"\0" * 1000):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b"")


def gif(width, height, frame_width, frame_height):
    frame = b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0) + b"\x02\x02\x4c\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + frame


def bmp(width, height):
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHH24x", 40, width, height, 1, 24) + b"\0" * 64


def webp(width, height):
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0x12) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless_webp(width, height):
    data = b"\x2f" + struct.pack("<I", (width - 1) | ((height - 1) << 14)) + bytes(20)
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width, height, **options):
    encoded = save(Image.new("RGB", (16, 16)), "JPEG", **options)
    at = encoded.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    return encoded[:at] + struct.pack(">HH", height, width) + encoded[at + 4 :]


def tiff(width, height, tags=()):
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 64} | dict(tags)
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 72) + b"x" * 64 + struct.pack("<H", len(entries)) + body + bytes(4)


def avif(width, height):
    encoded = save(Image.new("RGB", (64, 64)), "AVIF")
    at = encoded.index(b"ispe") + 8
    return encoded[:at] + struct.pack(">II", width, height) + encoded[at + 8 :]


TILE = {259: 7, 322: 32768, 323: 32768, 324: 8, 325: 64}
BOMBS = {
    "jpeg": jpeg(65500, 65500),
    "progressive jpeg": jpeg(65500, 65500, progressive=True),
    "jpeg of no height": jpeg(16, 0),
    "png": png(2**31 - 1, 2**31 - 1),
    "png beyond 31 bits": png(2**31, 1),
    "png of 16 bits": png(60_000, 60_000, 16, 6),
    "gif": gif(65535, 65535, 65535, 65535),
    "gif whose frame is larger": gif(1, 1, 65535, 65535),
    "bmp": bmp(2**31 - 1, 2**31 - 1),
    "bmp upside down": bmp(100, -(2**31)),
    "webp": webp(2**24, 2**24),
    "webp canvas": webp(16383, 16383),
    "lossless webp": lossless_webp(16383, 16383),
    "tiff": tiff(2**31 - 1, 2**31 - 1),
    "tiff's tile": tiff(64, 64, TILE),
    "tiff's tile of lzw": tiff(64, 64, TILE | {259: 5}),
    "tiff's strip": tiff(64, 64, {259: 8, 278: 2**31}),
    "avif": avif(65536, 65536),
}
"""Small files that say that they are enormous."""

DECODE = """
    import sys
    from biggan_jax.data import picture

    def mebibytes(what):
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1024

    for path in sys.argv[1:]:
        encoded = open(path, "rb").read()
        before, said = mebibytes("VmRSS"), []
        open("/proc/self/clear_refs", "w").write("5")  # Reset the peak memory.
        for upright in (False, True):
            try:
                said.append(str(picture.decode(encoded, upright=upright).shape))
            except picture.UnreadableError as error:
                said.append(f"refused: {error}")
        print(round(mebibytes("VmHWM") - before, 1), *said, sep="|")
"""


def decoded_elsewhere(paths):
    """Decode the files in one separate process; return [(peak MiB, result)]."""
    command = [sys.executable, "-c", textwrap.dedent(DECODE), *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=pathlib.Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
    rows = [line.split("|") for line in result.stdout.splitlines()]
    return [(float(peak), said) for peak, *said in rows]


def test_a_bomb_is_refused_and_takes_no_memory(tmp_path):
    paths = []
    for name, encoded in BOMBS.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(encoded)
    for (peak, said), path in zip(decoded_elsewhere(paths), paths, strict=True):
        assert all(what.startswith("refused") and len(what) < 140 for what in said), (path.name, said)
        assert peak < 40, (path.name, peak)


def largest(kind, size):
    """Return a size x size picture of the variant that needs the most memory in its format."""
    rgba = np.tile(np.random.default_rng(0).integers(0, 256, (256, 256, 4), np.uint8), (size // 256, size // 256, 1))
    image = Image.fromarray(rgba)
    turned = Image.Exif()
    turned[0x0112] = 6
    options = {
        "JPEG": {"progressive": True, "subsampling": 0},
        "PNG": {"compress_level": 1},
        "WEBP": {"save_all": True, "append_images": [image.rotate(90)], "method": 0},
        "GIF": {"save_all": True, "append_images": [image.rotate(90).convert("P")]},
        "AVIF": {"speed": 10, "quality": 30},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    modes = {"JPEG": "CMYK", "GIF": "P", "BMP": "RGB"}
    also = {} if kind in ("BMP", "GIF", "JPEG") else {"exif": turned}
    return save(image.convert(modes.get(kind, "RGBA")), kind, **options.get(kind, {}), **also)


def assert_within_the_limit(folder, pictures, pixels):
    for name, encoded in pictures.items():
        (folder / name).write_bytes(encoded)
    for name, (peak, said) in zip(pictures, decoded_elsewhere([folder / name for name in pictures]), strict=True):
        assert all(what.startswith("(") for what in said), (name, said)
        assert peak * 2**20 < 20 * pixels + 20e6, (name, peak)


def test_decoding_takes_no_more_memory_than_is_stated(tmp_path):
    assert_within_the_limit(tmp_path, {kind: largest(kind, 1024) for kind in ("WEBP", "TIFF", "PNG")}, 1024**2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*pictures.FORMATS, "one pixel wide"])
def test_the_largest_pictures_take_no_more_memory_than_stated(tmp_path, kind):
    encoded = png(1, 2**26, 8, 6, bytes(5 * 2**26)) if kind == "one pixel wide" else largest(kind, 8192)
    assert_within_the_limit(tmp_path, {kind: encoded}, 2**26)


def test_a_jpeg_of_many_scans_is_refused_and_a_trailer_ignored(smooth):
    encoded = save(Image.fromarray(smooth), "JPEG", progressive=True)
    last = encoded[encoded.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableError, match="more than 100 scans"):
        decode(encoded[:-2] + 100 * last + b"\xff\xd9")
    np.testing.assert_array_equal(decode(encoded + 1000 * b"\xff\xda"), decode(encoded))


@pytest.mark.parametrize("orientation", [0, 9, 65535, None])
def test_an_invalid_exif_orientation_is_ignored(smooth, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation or 0
    encoded = save(Image.fromarray(smooth), exif=b"Exif\0\0MM\0*damaged" if orientation is None else exif)
    np.testing.assert_array_equal(decode(encoded, upright=True), smooth)


def test_only_the_first_of_many_frames_is_decoded(smooth):
    frames = [Image.fromarray(np.roll(smooth, i, axis=1)) for i in range(20)]
    encoded = save(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(decode(encoded), smooth)
    assert decode(save(frames[0], "GIF", save_all=True, append_images=frames[1:])).shape == smooth.shape
