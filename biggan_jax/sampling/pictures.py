"""Grids of images, and PNG and TIFF files, of 8 or 16 bits."""

import io
import struct

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


def to_uint16(images: Arrays) -> Arrays:
    """Round [-1, 1] to [0, 65535]; a jax array stays on its device."""
    return ((images.clip(-1, 1) + 1) * 32767.5).round().astype(np.uint16)


def to_rgb(images: Arrays) -> Arrays:
    """Repeat the channel of grey images [..., 1]; RGB images [..., 3] stay as they are. Raises UserError for others."""
    check_drawable(images.shape[-3:])
    return images if images.shape[-1] == 3 else images.repeat(3, axis=-1)


def check_drawable(image_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the shape is that of a grey or an RGB image, (H, W, 1) or (H, W, 3)."""
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        also = " or .tif" if len(image_shape) == 3 else ""
        what = f"samples {list(image_shape)} are not grey or RGB images [H, W, 1 or 3]"
        raise UserError(f"{what}; write them as .npz{also}, by biggan-sample")


def rows_of_classes(num_classes: int, rows: int = 10) -> np.ndarray:
    """Return up to `rows` class ids, spread evenly over all classes; [0] for an unconditional model.

    >>> rows_of_classes(1000, rows=4)
    array([  0, 333, 666, 999], dtype=int32)
    """
    return np.unique(np.linspace(0, max(num_classes, 1) - 1, min(max(num_classes, 1), rows)).round().astype(np.int32))


def grid(images: np.ndarray, columns: int, margin: int = 2) -> np.ndarray:
    """Arrange uint8 or uint16 [N, H, W, C] row by row on white: [H', W', C]."""
    n, h, w, channels = images.shape
    rows = -(-n // columns)
    size = rows * (h + margin) + margin, columns * (w + margin) + margin, channels
    canvas = np.full(size, np.iinfo(images.dtype).max, images.dtype)
    for i, image in enumerate(images):
        top, left = margin + i // columns * (h + margin), margin + i % columns * (w + margin)
        canvas[top : top + h, left : left + w] = image
    return canvas


def frames_of(clips: np.ndarray, frames: int) -> np.ndarray:
    """Return the frames of clips that have them below each other: [..., frames * H, W, C] to [..., frames, H, W, C]."""
    *leading, height, width, channels = clips.shape
    return clips.reshape(*leading, frames, height // frames, width, channels)


def spread_frames(clips: np.ndarray, frames: int, most: int = 8) -> np.ndarray:
    """Return up to `most` frames of clips, evenly spread: [..., frames * H, W, C] to [..., n, H, W, C].

    >>> spread_frames(np.arange(10).reshape(1, 10, 1, 1), frames=10, most=4).ravel()
    array([0, 3, 6, 9])
    """
    times = np.unique(np.linspace(0, frames - 1, min(most, frames)).round().astype(int))
    return frames_of(clips, frames)[..., times, :, :, :]


def film(images: np.ndarray, frames: int, most: int = 8) -> np.ndarray:
    """Return what tools show of images: of clips, up to `most` frames in a row, [..., H, n * W, C]; others as they are.

    frames: of a clip, as in Family; 0: images are no clips.
    """
    if not frames:
        return images
    shown = np.moveaxis(spread_frames(images, frames, most), -4, -3)
    *leading, height, count, width, channels = shown.shape
    return shown.reshape(*leading, height, count * width, channels)


def sheet(images: np.ndarray, columns: int, frames: int = 0, most: int = 8) -> np.ndarray:
    """Arrange images as `grid` does; of clips, a row for each, with up to `most` frames."""
    if not frames:
        return grid(images, columns)
    shown = spread_frames(images, frames, most)
    return grid(shown.reshape(-1, *shown.shape[2:]), shown.shape[1])


def save_png(path: epath.PathLike, image: np.ndarray, min_width: int = 512) -> None:
    """Write uint8 or uint16 [H, W, 1 or 3] as a PNG, enlarged as by `enlarged`."""
    epath.Path(path).write_bytes(png(enlarged(image, min_width)))


def enlarged(image: np.ndarray, min_width: int = 512) -> np.ndarray:
    """Repeat pixels by the largest whole factor that keeps the image no wider than `min_width`; never shrink it."""
    factor = max(1, min_width // image.shape[1])
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def png(image: np.ndarray) -> bytes:
    """Encode uint8 or uint16 [H, W, 3], or grey [H, W, 1], as a PNG file. Raises UserError for other shapes."""
    check_drawable(image.shape)
    if image.dtype == np.uint16 and image.shape[-1] == 3:  # Pillow writes RGB with 8 bits only.
        import cv2

        return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    file = io.BytesIO()
    PILImage.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, format="png")
    return file.getvalue()


def tiff(images: np.ndarray) -> bytes:
    """Encode uint8 or uint16 [N, H, W, C] as an uncompressed TIFF with a page for each image. Raises UserError beyond 4 GB."""
    count, height, width, channels = images.shape
    data = images.astype(images.dtype.newbyteorder("<")).tobytes()
    if len(data) + 1000 * count > 2**32:
        raise UserError(f"{count:,} samples are more than the 4 GB of a TIFF; write them as .npz")
    each, bits = len(data) // count, 8 * images.dtype.itemsize
    pages, at = [struct.pack("<2sHI", b"II", 42, 8 + len(data) + len(data) % 2), data, b"\0" * (len(data) % 2)], 0
    at = sum(map(len, pages))
    for i in range(count):
        extra = () if channels in (1, 3) else (0,) * (channels - 1)  # Channels without a meaning that TIFF knows.
        tags = [
            *((256, "I", (width,)), (257, "I", (height,)), (258, "H", (bits,) * channels), (259, "H", (1,))),
            *((262, "H", (2 if channels == 3 else 1,)), (273, "I", (8 + i * each,)), (277, "H", (channels,))),
            *((278, "I", (height,)), (279, "I", (each,)), (284, "H", (1,))),
            *(((338, "H", extra),) if extra else ()),
            (339, "H", (1,) * channels),
        ]
        directory, more = struct.pack("<H", len(tags)), b""
        end = at + 2 + 12 * len(tags) + 4
        for tag, kind, values in tags:
            packed = struct.pack(f"<{len(values)}{kind}", *values)
            directory += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(values))
            if len(packed) > 4:
                directory += struct.pack("<I", end + len(more))
                more += packed + b"\0" * (len(packed) % 2)
            else:
                directory += packed.ljust(4, b"\0")
        following = end + len(more) if i + 1 < count else 0
        pages += [directory, struct.pack("<I", following), more]
        at = end + len(more)
    return b"".join(pages)
