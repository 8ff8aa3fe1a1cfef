"""Resize one picture on the host as the published protocols do; scores depend on it (Parmar et al. 2022)."""

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from biggan_jax.types import UserError

Shape = tuple[int, int]
"""Height and width."""

Resize = Callable[[np.ndarray, Shape], np.ndarray]
"""(uint8 [H, W, 3], (h, w)) to uint8 or float32 [h, w, 3], in the units of 8 bits: [0, 255], of pytorch-fid [0, 256]."""

Prepare = Callable[[np.ndarray], np.ndarray]
"""uint8 [H, W, 3] to what a network takes, [size, size, 3]."""


def tf1(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize as TensorFlow 1's tf.image.resize_bilinear; the same formula as `inception.tf1_bilinear`."""
    x = image.astype(np.float32)
    for axis in (1, 0):
        # In float32, as in TensorFlow: the lower pixel depends on the rounding.
        source = np.arange(shape[axis], dtype=np.float32) * np.float32(x.shape[axis] / shape[axis])
        x = _between(x, axis, source)
    return x


def pytorch_fid(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize as pytorch-fid: torch's bilinear with half-pixel centres and no antialiasing.

    The range is [0, 256], since pytorch-fid maps [0, 255] to [-1, 1], and networks here subtract 128 and divide by 128.
    """
    x = image.astype(np.float32) / np.float32(255)
    for axis in (1, 0):
        # In float32 and rounded once, as torch's fused multiplication and subtraction does.
        scale = np.float64(np.float32(x.shape[axis] / shape[axis]))
        source = ((np.arange(shape[axis]) + 0.5) * scale - 0.5).astype(np.float32)
        x = _between(x, axis, np.maximum(source, 0))
    return x * np.float32(256)


def clean(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize as clean-fid: Pillow's antialiased bicubic filter on floats, clipped to [0, 255] and not rounded."""
    channels = [Image.fromarray(image[..., i].astype(np.float32)) for i in range(image.shape[2])]
    resized = [np.asarray(channel.resize(shape[::-1], Image.Resampling.BICUBIC)) for channel in channels]
    return np.stack(resized, axis=-1).clip(0, 255)


def clean_quantized(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize by Pillow's antialiased bicubic filter, rounded to 8 bits; torchvision's Resize of a picture is the same."""
    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))


def pil_bilinear(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize by Pillow's antialiased bilinear filter, rounded to 8 bits: torchvision's Resize by default."""
    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR))


def antialiased_bilinear(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize as jax.image.resize(..., "bilinear", antialias=True)."""
    rows, columns = (_triangle(length, size) for length, size in zip(image.shape[:2], shape, strict=True))
    x = np.tensordot(rows, image.astype(np.float32), 1)
    return np.ascontiguousarray(np.einsum("hwc,ow->hoc", x, columns))


RESIZERS: dict[str, tuple[Resize, str]] = {
    "tf1": (tf1, "TF1 bilinear"),
    "pytorch-fid": (pytorch_fid, "pytorch-fid's bilinear"),
    "clean": (clean, "clean-fid's bicubic"),
    "clean-quantized": (clean_quantized, "clean-fid's bicubic rounded to 8 bits"),
    "pil-bilinear": (pil_bilinear, "Pillow's bilinear rounded to 8 bits"),
    "antialiased": (antialiased_bilinear, "antialiased bilinear"),
}
"""By name: the function, and its name in protocols."""


def prepare(name: str, size: int, *, jpeg: int = 0, crop: bool = False) -> tuple[Prepare, str]:
    """Return the function that makes a network's input of a picture, and its description.

    jpeg: the quality of an encoding as JPEG before; 0: none. crop: resize the shorter edge and crop the centre, as CLIP does.
    """
    resize, words = RESIZERS[name]

    def make(image: np.ndarray) -> np.ndarray:
        image = as_jpeg(image, jpeg) if jpeg else image
        if not crop:
            return resize(image, (size, size))
        height, width = image.shape[:2]
        short = min(height, width)
        return centre(resize(image, (size * height // short, size * width // short)), size)

    words = f"{words} to {size}" + (" on the shorter edge, the centre cropped" if crop else "")
    return make, words + (f" after JPEG of quality {jpeg}" if jpeg else "")


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """Crop the centre [size, size, C] of [H, W, C], rounding the position as torchvision's CenterCrop does."""
    top, left = (round((length - size) / 2) for length in image.shape[:2])
    return image[top : top + size, left : left + size]


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode uint8 [H, W, 3] as JPEG by Pillow, and decode it."""
    if not 1 <= quality <= 100:
        raise UserError(f"the quality of JPEG is 1 to 100, not {quality}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=("JPEG",)))


def _between(x: np.ndarray, axis: int, source: np.ndarray) -> np.ndarray:
    """Interpolate linearly along the axis at these positions, float32, at least 0."""
    last = x.shape[axis] - 1
    low = np.minimum(np.floor(source).astype(np.int64), last)
    share = np.expand_dims(source - low.astype(np.float32), [i for i in range(x.ndim) if i != axis])
    here, beyond = np.take(x, low, axis), np.take(x, np.minimum(low + 1, last), axis)
    return here + (beyond - here) * share


@functools.lru_cache(maxsize=256)
def _triangle(length: int, size: int) -> np.ndarray:
    """Return the weights [size, length] of an antialiased triangle filter."""
    scale = length / size
    centre = (np.arange(size) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(length)) / max(scale, 1))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
