"""Owns sheets that move: their columns one after the other, there and back, as GIF or MP4. Must not know what they show."""

import math

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.files import whole
from biggan_jax.sheets.layout import Sheet, draw
from biggan_jax.types import UserError

SUFFIXES = (".gif", ".mp4")

FRAMES_PER_SECOND = 20


def frames(sheet: Sheet) -> list[np.ndarray]:
    """The rows' pictures side by side, about a square of them, a frame a column: uint8 [H, W, 3], for a loop there and back."""
    rows, columns, *shape = sheet.images.shape
    across = math.ceil(math.sqrt(rows))
    down = -(-rows // across)
    images = np.full((down * across, columns, *shape), 255, np.uint8)
    images[:rows] = sheet.images
    words = [*(" ".join(words.split("\n")) for words in sheet.rows), *[""] * (down * across - rows)]
    captions = [words[i * across : (i + 1) * across] for i in range(down)] if any(words) else ()
    there = [draw(Sheet(images[:, i].reshape(down, across, *shape), captions=captions)) for i in range(columns)]
    return there + there[-2:0:-1]


def save(path: epath.Path, frames: list[np.ndarray]) -> None:
    """Writes a .gif that loops, or an .mp4. Raises UserError for the latter without the package that it needs."""
    write = _gif if path.suffix == ".gif" else _mp4
    with whole(path) as unfinished:
        write(unfinished, frames)


def check(path: epath.Path) -> None:
    """Raises UserError if such a file cannot be written here."""
    if path.suffix == ".mp4":
        _ffmpeg()


def _gif(path: str, frames: list[np.ndarray]) -> None:
    first, *others = (Image.fromarray(frame) for frame in frames)
    duration = round(1000 / FRAMES_PER_SECOND)
    first.save(path, format="gif", save_all=True, append_images=others, duration=duration, loop=0)


def _mp4(path: str, frames: list[np.ndarray]) -> None:
    height, width, _ = frames[0].shape
    even = ((0, height % 2), (0, width % 2), (0, 0))  # Its colours are kept for each two by two pixels.
    height, width = height + height % 2, width + width % 2
    writer = _ffmpeg().write_frames(
        path, (width, height), fps=FRAMES_PER_SECOND, quality=8, macro_block_size=2, output_params=["-f", "mp4"]
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(np.pad(frame, even, constant_values=255)))
    writer.close()


def _ffmpeg():
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError("an .mp4 is written by ffmpeg: pip install 'biggan-jax[video]', or give a .gif") from None
    return imageio_ffmpeg
