"""Decode, crop and resize one picture.

Decoding untrusted bytes returns pixels or raises UnreadableError. Besides the bytes themselves, and a copy of a JPEG's with
much metadata, it takes at most 20 bytes of memory a pixel, of at most 2**26 pixels, and 20 MB: 1.37 GB for each picture that is
decoded at a time.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from biggan_jax.data.metadata import MOST, lean

cv2.setNumThreads(1)  # Pictures are decoded in parallel; threads within one picture would compete with that.

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""The formats that are read, as Pillow names them. EPS is left out: it is a program, which Pillow runs with Ghostscript."""

MAX_PIXELS = 2**26
"""Larger pictures are refused before decoding. Measured bytes a pixel for the largest: JPEG 3, progressive 9, CMYK 12; GIF 4;
PNG, BMP and TIFF 8, but 16 if one pixel wide; AVIF 12; WebP 17, animated 19."""

MAX_TILE_PIXELS = 2**22  # Tiles of a TIFF may be larger than the picture, and are decoded whole.
MAX_SCANS = 100  # A progressive JPEG has about ten; each costs time in proportion to the whole picture.
BAND_PIXELS = 2**18  # Converted at a time, so that no whole picture is in memory in several modes.

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Pictures that are too large raise an error here, so Pillow's warning adds nothing.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FILTERS = {name: Image.Resampling[name.upper()] for name in ("bilinear", "bicubic", "lanczos")}
"""Pillow's antialiased filters. The other way to resize is `area`, which averages areas exactly."""


class UnreadableError(Exception):
    """A picture cannot be decoded; the message says why."""


def decode(encoded: bytes, *, at_least: int = 0, upright: bool = False) -> np.ndarray:
    """Decode a picture to uint8 [H, W, 3] RGB. Raises UnreadableError.

    Gray, palette, CMYK and 16-bit pictures are converted; alpha is composited on white. at_least: if positive, JPEG may be
    decoded at a fraction of its size with both edges at least this long, which is faster and blurs a little. upright: applies
    the EXIF orientation, which other implementations ignore.
    """
    try:
        encoded = lean(encoded)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    is_jpeg = encoded[:2] == b"\xff\xd8"
    if is_jpeg and encoded.count(b"\xff\xda") > MAX_SCANS and _scans(encoded) > MAX_SCANS:
        raise UnreadableError(f"more than {MAX_SCANS} scans")
    if is_jpeg and not upright:
        try:
            height, width, kind, _ = simplejpeg.decode_jpeg_header(encoded)
            if kind != "CMYK" and height * width <= MAX_PIXELS:
                return simplejpeg.decode_jpeg(encoded, "RGB", min_height=at_least, min_width=at_least)
        except ValueError:
            pass  # Pillow tolerates more damage, or has the better message.
    with opened(encoded) as image:
        image.load()
        if upright:
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


@contextlib.contextmanager
def opened(encoded: bytes) -> Iterator[Image.Image]:
    """Open a picture with Pillow, not decoded yet: size, mode and format. Any error in the block becomes UnreadableError."""
    try:
        with Image.open(io.BytesIO(lean(encoded)), formats=FORMATS) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise UnreadableError(f"{image.width} x {image.height} pixels are not 1 to {MAX_PIXELS:,}")
            tile = [getattr(image, "tag_v2", {}).get(edge, 0) for edge in (322, 323)]  # Only a TIFF has such tags.
            if tile[0] * tile[1] > MAX_TILE_PIXELS:
                raise UnreadableError(f"tiles of {tile[0]} x {tile[1]} pixels are more than {MAX_TILE_PIXELS:,}")
            yield image
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableError(_what_else(encoded)) from error
    except Exception as error:  # Damaged input raises many types: struct.error, SyntaxError, IndexError, ...
        raise UnreadableError(" ".join(str(error).split())[:120] or type(error).__name__) from error


def _what_else(encoded: bytes) -> str:
    """Say what a file is that is no picture."""
    if encoded.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the picture; run git lfs pull"
    return "not a picture" if encoded else "an empty file"


def crop(image: np.ndarray, shape: tuple[int, ...] = (1, 1), offset: float = 0.5) -> np.ndarray:
    """Crop the largest region with the aspect ratio of `shape`, (height, width, ...); a square by default.

    offset: position of the region along the edge that is cut, 0 to 1; 0.5 is the centre.
    """
    height, width = image.shape[:2]
    rows = min(height, max(1, width * shape[0] // shape[1]))
    columns = min(width, max(1, height * shape[1] // shape[0]))
    top, left = int((height - rows) * offset), int((width - columns) * offset)
    return image[top : top + rows, left : left + columns]


def pad(image: np.ndarray, shape: tuple[int, ...], value: int) -> np.ndarray:
    """Pad [H, W, C] on two sides with `value` to the aspect ratio of `shape`, (height, width, ...)."""
    height, width = image.shape[:2]
    rows, columns = max(height, round(width * shape[0] / shape[1])), max(width, round(height * shape[1] / shape[0]))
    if rows * columns > MAX_PIXELS:
        raise UnreadableError(f"padded to {columns} x {rows} it has more than {MAX_PIXELS:,} pixels")
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.pad(image, ((top, rows - height - top), (left, columns - width - left), (0, 0)), constant_values=value)


def resize(image: np.ndarray, shape: tuple[int, ...], how: str) -> np.ndarray:
    """Resize uint8 or uint16 [H, W, C] to (height, width, ...) by `area` or one of `FILTERS`."""
    height, width = shape[:2]
    if image.shape[:2] == (height, width):
        return image
    if image.shape[2] != 3 or image.dtype != np.uint8:
        channels = [_resize_channel(image[..., i], (width, height), how) for i in range(image.shape[2])]
        return np.stack(channels, axis=-1)
    if how != "area":
        return np.asarray(Image.fromarray(image).resize((width, height), FILTERS[how]))
    # Averaging areas is right for shrinking; for enlarging, it would only repeat pixels.
    smooth = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=smooth)


def _resize_channel(channel: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """Resize [H, W] to `size`, (width, height)."""
    if how != "area":
        # Pillow filters one channel of 8 bits, or of floats.
        made = Image.fromarray(channel if channel.dtype == np.uint8 else channel.astype(np.float32))
        resized = np.asarray(made.resize(size, FILTERS[how]))
        return resized if channel.dtype == np.uint8 else np.rint(resized.clip(0, 65535)).astype(np.uint16)
    smooth = cv2.INTER_AREA if channel.shape[0] > size[1] else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(channel), size, interpolation=smooth)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Convert RGB to luma: uint8 or uint16 [H, W, 1]."""
    if image.dtype == np.uint16:
        weights = np.array([19595, 38470, 7471], np.uint64)  # Pillow's, of 65536.
        return ((image.astype(np.uint64) @ weights + 2**15) >> np.uint64(16)).astype(np.uint16)[..., None]
    return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def to_8_bits(image: np.ndarray) -> np.ndarray:
    """Round uint16 to uint8: 257 levels become one. Images of 8 bits stay."""
    return image if image.dtype == np.uint8 else ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""Starts a JPEG segment. Within a scan, 255 is followed by 0 or by one of eight restart markers, which start none."""


def _scans(jpeg: bytes) -> int:
    """Count a JPEG's scans. Data inside segments or after the end, such as a phone's video, do not count."""
    at, scans = 2, 0
    while (found := _MARKER.search(jpeg, at)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
    return scans


_PNG, _END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"


def ended(encoded: bytes) -> bytes:
    """Return a PNG with its end, if that is missing or cut; a chunk after its pixels that is cut is left out.

    Other bytes stay, as does a PNG whose pixels are cut.
    """
    if not encoded.startswith(_PNG):
        return encoded
    at, pixels = len(_PNG), False
    while at + 12 <= len(encoded) and (end := at + 12 + int.from_bytes(encoded[at : at + 4])) <= len(encoded):
        kind = encoded[at + 4 : at + 8]
        if kind == b"IEND":
            return encoded
        at, pixels = end, pixels or kind == b"IDAT"
    is_cut = encoded[at + 4 : at + 8] == b"IDAT"
    return encoded[:at] + _END if pixels and not is_cut else encoded


def without_metadata(encoded: bytes) -> bytes:
    """Return a PNG or JPEG with what decides its pixels alone; bytes that cannot be divided, or of other formats, as they are."""
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_pixels(encoded)
    return _jpeg_pixels(encoded) if encoded.startswith(b"\xff\xd8") else encoded


def _png_pixels(png: bytes) -> bytes:
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        kind = png[at + 4 : at + 8]
        if end > len(png):
            return png
        if kind == b"tRNS" or kind[:1].isupper():  # Chunks that a decoder must know.
            parts.append(png[at:end])
        at = end
    return b"".join(parts)


def _jpeg_pixels(jpeg: bytes) -> bytes:
    parts, at = [jpeg[:2]], 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, end = jpeg[at + 1], at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if marker == 0xDA:  # The first scan.
            return b"".join([*parts, jpeg[at:]])
        if not (0xE1 <= marker <= 0xEF and marker != 0xEE) and marker != 0xFE:  # 0xEE is Adobe's, of the colour space.
            parts.append(jpeg[at:end])
            if len(parts) > MOST:
                return jpeg
        at = end
    return jpeg


def _to_rgb(image: Image.Image) -> np.ndarray:
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(_band_to_rgb(band))
    return pixels


def _band_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips everything above 255.
        return Image.fromarray(to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(np.nan_to_num(np.clip(np.asarray(image), 0, 255)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
