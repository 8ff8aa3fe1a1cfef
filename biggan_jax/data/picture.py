"""Owns one picture: encoded bytes to pixels, cropped and resized. Must not know where it comes from.

Whoever made the bytes, decoding them ends in pixels or in UnreadableError, and takes, besides the bytes themselves, at most 20
bytes of memory for each pixel, of at most 2**26, and 20 MB: 1.37 GB for each picture that is decoded at a time.
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
from PIL.TiffImagePlugin import TiffImageFile

cv2.setNumThreads(1)  # Pictures are worked on in parallel; threads within one only get in each other's way.

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""As Pillow calls them. Of the others that it reads, EPS is a program, which it hands to Ghostscript to run."""

MOST_PIXELS = 2**26
"""A picture with more is refused undecoded. Bytes for each pixel of the largest, as measured: JPEG 3, progressive 9, CMYK 12;
GIF 4; PNG, BMP and TIFF 8, but 16 if one pixel wide; AVIF 12; WebP 17, animated 19."""

MOST_IN_A_TILE = 2**22
"""Of a TIFF, whose tiles may be larger than it, and are decoded whole."""

MOST_SCANS = 100
"""Of a JPEG: a progressive one has ten or so, each of which is worked through all of the picture's size."""

Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.filterwarnings(
    "ignore", category=Image.DecompressionBombWarning
)  # What is too large is refused, not warned of.

BAND = 2**18
"""Pixels that are converted at a time, so that no whole picture is in memory in several modes."""

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Its filters that may resize, all antialiased. Besides, there is area: areas averaged exactly."""


class UnreadableError(Exception):
    """What is wrong with a picture, for people."""


def decode(encoded: bytes, *, at_least: int = 0, upright: bool = False) -> np.ndarray:
    """Any encoded picture, as uint8 [H, W, 3] RGB. Raises UnreadableError.

    Gray, palette, CMYK and 16-bit pictures are converted; what is transparent lies on white. With `at_least`, JPEG may be
    decoded at a fraction of its size with both edges at least that long, which is faster and blurs a little. `upright`
    turns the picture as its EXIF data say, which other implementations do not.
    """
    is_jpeg = encoded[:2] == b"\xff\xd8"
    if is_jpeg and encoded.count(b"\xff\xda") > MOST_SCANS and _scans(encoded) > MOST_SCANS:
        raise UnreadableError(f"more than {MOST_SCANS} scans")
    if is_jpeg and not upright:
        try:
            height, width, kind, _ = simplejpeg.decode_jpeg_header(encoded)
            if kind != "CMYK" and height * width <= MOST_PIXELS:
                return simplejpeg.decode_jpeg(encoded, "RGB", min_height=at_least, min_width=at_least)
        except ValueError:
            pass  # Pillow forgives more, or tells more.
    with opened(encoded) as image:
        image.load()
        if upright:
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


@contextlib.contextmanager
def opened(encoded: bytes) -> Iterator[Image.Image]:
    """The picture as Pillow opens it: its size, mode and format, nothing decoded. What fails with it is an UnreadableError."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if not 0 < image.width * image.height <= MOST_PIXELS:
                raise UnreadableError(f"{image.width} x {image.height} pixels are not 1 to {MOST_PIXELS:,}")
            tile = [image.tag_v2.get(edge, 0) for edge in (322, 323)] if isinstance(image, TiffImageFile) else (0, 0)
            if tile[0] * tile[1] > MOST_IN_A_TILE:
                raise UnreadableError(f"tiles of {tile[0]} x {tile[1]} pixels are more than {MOST_IN_A_TILE:,}")
            yield image
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"more than {MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableError("not a picture" if encoded else "an empty file") from error
    except Exception as error:  # Damaged input raises nearly anything: struct.error, SyntaxError, IndexError, ...
        raise UnreadableError(" ".join(str(error).split())[:120] or type(error).__name__) from error


def is_plain(image: Image.Image) -> bool:
    """Whether decoding the file that this is opened from gives its pixels as they are meant: upright, opaque, 8 bits."""
    upright = image.getexif().get(0x0112, 1) == 1
    return upright and image.mode in ("RGB", "L") and "transparency" not in image.info


def square(image: np.ndarray, across: float = 0.5) -> np.ndarray:
    """The square of the short edge's size that lies `across` the long one, 0 to 1: by default its centre."""
    height, width = image.shape[:2]
    size = min(height, width)
    top, left = int((height - size) * across), int((width - size) * across)
    return image[top : top + size, left : left + size]


def resize(image: np.ndarray, resolution: int, how: str) -> np.ndarray:
    """A square picture at another resolution, by area or one of `PILLOW`: uint8 [resolution, resolution, 3]."""
    if image.shape[0] == resolution:
        return image
    if how != "area":
        return np.asarray(Image.fromarray(image).resize((resolution, resolution), PILLOW[how]))
    # Averaging areas is how to shrink; to enlarge, it would only repeat pixels.
    smooth = cv2.INTER_AREA if image.shape[0] > resolution else cv2.INTER_CUBIC
    return cv2.resize(image, (resolution, resolution), interpolation=smooth)


_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""Of a JPEG's segments. Within a scan, 255 is followed by 0, or by one of eight that begin nothing new."""


def _scans(jpeg: bytes) -> int:
    """How many scans it has; what is appended to it, such as a phone's film, or lies in its segments is passed over."""
    at, scans = 2, 0
    while (found := _MARKER.search(jpeg, at)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
    return scans


def _to_rgb(image: Image.Image) -> np.ndarray:
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(_band_to_rgb(band))
    return pixels


def _band_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would cut off all above 255.
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(np.nan_to_num(np.clip(np.asarray(image), 0, 255)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
