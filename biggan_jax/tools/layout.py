"""Grids of images with labels, drawn as one picture, or as an animation in GIF or MP4."""

import itertools
import math
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from biggan_jax.flags.paths import check_animation
from biggan_jax.runtime.files import atomic_write
from biggan_jax.sampling.pictures import enlarged, frames_of, to_rgb
from biggan_jax.sampling.pictures import grid as grid_of

SMALLEST, LONGEST = 72, 4096
"""Pixels. Small images are enlarged by a whole factor to SMALLEST or more. Large ones are shrunk where a row or column would
be longer than LONGEST, but not below SMALLEST."""

MAX_LETTERS = 28  # In a line of a row's label.
FRAMES_PER_SECOND = 20


class Grid(NamedTuple):
    """Images in rows and columns, with labels.

    images: uint8 [rows, columns, H, W, 1 or 3]. rows: labels to the left. columns: labels above; an empty one extends the
    label to its left. captions: labels under the images, by row. row_breaks, column_breaks: rows and columns that a gap
    precedes.
    """

    images: np.ndarray
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    captions: Sequence[Sequence[str]] = ()
    row_breaks: Sequence[int] = ()
    column_breaks: Sequence[int] = ()


def in_rows(images: np.ndarray, rows: int) -> np.ndarray:
    """Reshape [N, H, W, C] to [rows, N / rows, H, W, C]."""
    return images.reshape(rows, -1, *images.shape[1:])


def draw(grid: Grid, smallest: int = SMALLEST) -> np.ndarray:
    """Draw the grid on white with black labels: uint8 [H, W, 3]. smallest: least size of an image in pixels."""
    images = to_rgb(grid.images)
    rows, columns, height, width, _ = images.shape
    factor = _factor(max(rows * height, columns * width), min(height, width), smallest)
    if factor > 0:
        images = images.repeat(factor, 2).repeat(factor, 3)
    else:  # Average areas.
        images = np.stack([[np.asarray(Image.fromarray(x).reduce(-factor)) for x in row] for row in images])
    _, _, height, width, _ = images.shape
    margin = max(2, width // 36)
    size = max(14, min(width // 9, 40))
    font = ImageFont.load_default(size)
    line = round(1.4 * size)

    labels = [[_shortened(part, MAX_LETTERS) for part in label.split("\n")] for label in grid.rows]
    edge = 4 * margin
    widest = max((font.getlength(part) for label in labels for part in label), default=0)
    left = edge + (round(widest) + 2 * margin if any(grid.rows) else 0)
    top = edge + (line if any(grid.columns) else 0)
    under = max((caption.count("\n") + 1 for row in grid.captions for caption in row), default=0)
    under_height = (under * line + line // 2) if under else 0
    # A row is at least as high as its label.
    row_height = max(height + under_height, max(map(len, labels), default=0) * line) + margin
    row_numbers, column_numbers = np.arange(rows + 1), np.arange(columns + 1)
    y = top + row_height * row_numbers + 8 * margin * np.isin(row_numbers, grid.row_breaks).cumsum()
    x = left + (width + margin) * column_numbers + 8 * margin * np.isin(column_numbers, grid.column_breaks).cumsum()

    canvas = Image.new("RGB", (int(x[-1]) - margin + edge, int(y[-1]) - margin + edge), "white")
    pen = ImageDraw.Draw(canvas)
    for r, c in np.ndindex(rows, columns):
        # A frame shows the edges of white images.
        pen.rectangle((x[c] - 1, y[r] - 1, x[c] + width, y[r] + height), outline="#dddddd")
        canvas.paste(Image.fromarray(images[r, c]), (int(x[c]), int(y[r])))
    for r, label in enumerate(labels):
        place = left - 2 * margin, y[r] + height / 2
        pen.multiline_text(place, "\n".join(label), "black", font, anchor="rm", align="right", spacing=size // 4)
    starts = [c for c, label in enumerate(grid.columns) if label]
    for start, end in itertools.pairwise([*starts, len(grid.columns)]):
        room = x[end - 1] + width - x[start]
        place = x[start] + room / 2, top - margin
        pen.text(place, _fitting(grid.columns[start], font, room), "black", font, anchor="md")
    for r, captions in enumerate(grid.captions):
        for c, caption in enumerate(captions):
            place = x[c] + width / 2, y[r] + height + margin
            fitting = "\n".join(_fitting(part, font, width) for part in caption.split("\n"))
            pen.multiline_text(place, fitting, "black", font, anchor="ma", align="center", spacing=size // 4)
    return np.asarray(canvas)


def _factor(longest: int, size: int, smallest: int) -> int:
    """Return the factor to enlarge by (positive) or to shrink by (negative) for images of `size` pixels in rows of `longest`."""
    if longest > LONGEST and size >= 2 * smallest:
        return -min(math.ceil(longest / LONGEST), size // smallest)
    return max(1, min(math.ceil(smallest / size), LONGEST // longest))


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 2]}.."


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    shorter = (_shortened(text, letters) for letters in range(len(text), 3, -1))
    return next((part for part in shorter if font.getlength(part) <= room), _shortened(text, 3))


def frames(grid: Grid) -> list[np.ndarray]:
    """Draw an animation with one frame per column, with its rows' images in a square: uint8 [H, W, 3], for a loop forward and back."""
    rows, columns, *shape = grid.images.shape
    across = math.ceil(math.sqrt(rows))
    down = -(-rows // across)
    images = np.full((down * across, columns, *shape), 255, np.uint8)
    images[:rows] = grid.images
    labels = [*grid.rows, *[""] * (down * across - rows)]
    captions = [labels[i * across : (i + 1) * across] for i in range(down)] if any(labels) else ()
    grids = (Grid(images[:, i].reshape(down, across, *shape), captions=captions) for i in range(columns))
    forward = [draw(grid, smallest=144) for grid in grids]  # Large, since there are few images at once.
    return forward + forward[-2:0:-1]


def played(clips: np.ndarray, frames: int, columns: int) -> list[np.ndarray]:
    """Return an animation of clips uint8 [N, frames * H, W, 1 or 3], side by side in a grid: uint8 [H', W', 3] for each frame."""
    each = np.moveaxis(to_rgb(frames_of(clips, frames)), 1, 0)
    return [enlarged(grid_of(images, columns), 256) for images in each]


def save_animation(path: epath.Path, frames: list[np.ndarray]) -> None:
    """Write a looping .gif, or an .mp4. Raises UserError if the package that .mp4 needs is missing."""
    check_animation(path)
    with atomic_write(path) as unfinished:
        if path.suffix == ".gif":
            first, *others = map(Image.fromarray, frames)
            duration = round(1000 / FRAMES_PER_SECOND)
            first.save(unfinished, "gif", save_all=True, append_images=others, duration=duration, loop=0)
        else:
            _mp4(unfinished, frames)


def _mp4(path: str, frames: list[np.ndarray]) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width, _ = frames[0].shape
    even = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p shares colours among two by two pixels.
    pixels = b"".join(np.pad(frame, even, constant_values=255).tobytes() for frame in frames)
    size = f"{width + width % 2}x{height + height % 2}"
    read = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    write = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", path]
    command = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *read, *write]
    done = subprocess.run(command, input=pixels, capture_output=True)
    if done.returncode:
        raise OSError(f"ffmpeg: {' '.join(done.stderr.decode(errors='replace').split())[-200:]}")
