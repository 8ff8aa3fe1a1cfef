"""Grids and PNG files of uint8 images."""

import io

import numpy as np
from etils import epath
from PIL import Image as PILImage

from biggan_jax.types import Arrays, UserError


def to_uint8(images: Arrays) -> Arrays:
    """Round [-1, 1] to [0, 255]; a jax array stays on its device.

    >>> to_uint8(np.array([-1.0, 0.0, 0.999, 7.0]))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    return ((images.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)


def to_rgb(images: Arrays) -> Arrays:
    """Repeat the channel of grey images [..., 1]; RGB images [..., 3] stay as they are. Raises UserError for others."""
    check_drawable(images.shape[-3:])
    return images if images.shape[-1] == 3 else images.repeat(3, axis=-1)


def check_drawable(image_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the shape is that of a grey or an RGB image, (H, W, 1) or (H, W, 3)."""
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        raise UserError(f"samples {list(image_shape)} are not grey or RGB images [H, W, 1 or 3]; write them as .npz")


def rows_of_classes(num_classes: int, rows: int = 10) -> np.ndarray:
    """Return up to `rows` class ids, spread evenly over all classes; [0] for an unconditional model.

    >>> rows_of_classes(1000, rows=4)
    array([  0, 333, 666, 999], dtype=int32)
    """
    return np.unique(np.linspace(0, max(num_classes, 1) - 1, min(max(num_classes, 1), rows)).round().astype(np.int32))


def grid(images: np.ndarray, columns: int, margin: int = 2) -> np.ndarray:
    """Arrange uint8 [N, H, W, C] row by row on white: uint8 [H', W', C]."""
    n, h, w, channels = images.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (h + margin) + margin, columns * (w + margin) + margin, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = margin + i // columns * (h + margin), margin + i % columns * (w + margin)
        canvas[top : top + h, left : left + w] = image
    return canvas


def save_png(path: epath.PathLike, image: np.ndarray, min_width: int = 512) -> None:
    """Write uint8 [H, W, 1 or 3] as a PNG, enlarged as by `enlarged`."""
    epath.Path(path).write_bytes(png(enlarged(image, min_width)))


def enlarged(image: np.ndarray, min_width: int = 512) -> np.ndarray:
    """Repeat pixels by the largest whole factor that keeps the image no wider than `min_width`; never shrink it."""
    factor = max(1, min_width // image.shape[1])
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def png(image: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 3], or grey [H, W, 1], as a PNG file. Raises UserError for other shapes."""
    check_drawable(image.shape)
    file = io.BytesIO()
    PILImage.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, format="png")
    return file.getvalue()
