"""Pictures of images: uint8 conversion, grids, PNG files."""

import io

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from PIL import Image as PILImage

from biggan_jax.types import Arrays


def to_uint8(images: Arrays) -> Arrays:
    """[-1, 1] to [0, 255], rounded; on the host, or, under jit, on the devices.

    >>> to_uint8(np.array([-1.0, 0.0, 0.999, 7.0]))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    xp = jnp if isinstance(images, jax.Array) else np
    return xp.rint((xp.clip(images, -1, 1) + 1) * 127.5).astype(xp.uint8)


def rows_of_classes(num_classes: int, rows: int = 10) -> np.ndarray:
    """Up to `rows` classes spread evenly over all, for a grid with one row a class; [0] if unconditional.

    >>> rows_of_classes(1000, rows=4)
    array([  0, 333, 666, 999], dtype=int32)
    """
    return np.unique(np.linspace(0, max(num_classes, 1) - 1, min(max(num_classes, 1), rows)).round().astype(np.int32))


def grid(images: np.ndarray, columns: int, margin: int = 2) -> np.ndarray:
    """uint8 [N, H, W, 3] laid out row by row on white, missing ones left white: uint8 [H', W', 3]."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + margin) + margin, columns * (w + margin) + margin, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = margin + i // columns * (h + margin), margin + i % columns * (w + margin)
        sheet[top : top + h, left : left + w] = image
    return sheet


def save_png(path: epath.PathLike, sheet: np.ndarray, least_width: int = 512) -> None:
    """Writes uint8 [H, W, 3]; small sheets are enlarged by whole factors, so that single pixels can be seen."""
    epath.Path(path).write_bytes(png(enlarged(sheet, least_width)))


def enlarged(sheet: np.ndarray, least_width: int = 512) -> np.ndarray:
    """uint8 [H, W, 3], by the largest whole factor with which it is no wider than `least_width`; never shrunk."""
    factor = max(1, least_width // sheet.shape[1])
    return sheet.repeat(factor, axis=0).repeat(factor, axis=1)


def png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    PILImage.fromarray(image).save(file, format="png")
    return file.getvalue()
