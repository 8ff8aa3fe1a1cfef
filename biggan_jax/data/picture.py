"""Owns one picture: encoded bytes to pixels, cropped and resized. Must not know where it comes from."""

import io

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

cv2.setNumThreads(1)  # Pictures are worked on in parallel; threads within one only get in each other's way.

MOST_PIXELS = 2**26
"""A picture with more is refused undecoded. Decoding takes 3 bytes a pixel for a JPEG, at most 16 for others: 1.1 GB."""
Image.MAX_IMAGE_PIXELS = MOST_PIXELS

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
    if not upright and encoded[:2] == b"\xff\xd8":
        try:
            height, width, kind, _ = simplejpeg.decode_jpeg_header(encoded)
            if kind != "CMYK" and height * width <= MOST_PIXELS:
                return simplejpeg.decode_jpeg(encoded, "RGB", min_height=at_least, min_width=at_least)
        except ValueError:
            pass  # Pillow forgives more, or tells more.
    return np.asarray(open_picture(encoded, upright=upright))


def open_picture(encoded: bytes, *, upright: bool = True) -> Image.Image:
    """The same as a Pillow image of mode RGB."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UnreadableError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image) if upright else image)
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("not a picture" if encoded else "an empty file") from error
    except (
        Exception
    ) as error:  # Pillow raises nearly anything on damaged input: struct.error, SyntaxError, IndexError, ...
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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would cut off all above 255.
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(np.clip(np.asarray(image), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
