"""Grids of images with labels, drawn as one picture."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from biggan_jax.sampling.pictures import to_rgb

SMALLEST, LONGEST = 72, 4096
"""Pixels. Small images are enlarged by a whole factor to SMALLEST or more. Large ones are shrunk where a row or column would
be longer than LONGEST, but not below SMALLEST."""

MAX_LETTERS = 28
"""Letters in a line of a row's label; longer lines are shortened."""

FRAME = "#dddddd"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    images = _resized(images, _factor(max(rows * height, columns * width), min(height, width), smallest))
    _, _, height, width, _ = images.shape
    margin = max(2, width // 36)
    size = max(14, min(width // 9, 40))
    font = ImageFont.load_default(size)
    line = round(1.4 * size)

    labels = ["\n".join(_shortened(part, MAX_LETTERS) for part in label.split("\n")) for label in grid.rows]
    edge = 4 * margin
    left = edge + (round(max(_width(label, font) for label in labels)) + 2 * margin if any(labels) else 0)
    top = edge + (line if any(grid.columns) else 0)
    # A row is at least as high as its label.
    under = max((_lines(caption) for row in grid.captions for caption in row), default=0)
    under_height = (under * line + line // 2) if under else 0
    row_height = max(height + under_height, max(map(_lines, labels), default=0) * line) + margin
    y = top + row_height * np.arange(rows + 1) + 8 * margin * _breaks(grid.row_breaks, rows)
    x = left + (width + margin) * np.arange(columns + 1) + 8 * margin * _breaks(grid.column_breaks, columns)

    canvas = Image.new("RGB", (int(x[-1]) - margin + edge, int(y[-1]) - margin + edge), "white")
    pen = ImageDraw.Draw(canvas)
    for r, c in np.ndindex(rows, columns):
        # A frame shows the edges of white images.
        pen.rectangle((x[c] - 1, y[r] - 1, x[c] + width, y[r] + height), outline=FRAME)
        canvas.paste(Image.fromarray(images[r, c]), (int(x[c]), int(y[r])))
    for r, label in enumerate(labels):
        place = left - 2 * margin, y[r] + height / 2
        pen.multiline_text(place, label, "black", font, anchor="rm", align="right", spacing=size // 4)
    for start, end in _spans(grid.columns):
        room = x[end - 1] + width - x[start]
        middle = x[start] + room / 2
        pen.text((middle, top - margin), _fitting(grid.columns[start], font, room), "black", font, anchor="md")
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


def _resized(images: np.ndarray, factor: int) -> np.ndarray:
    """Repeat pixels, or average areas, by a factor of `_factor`."""
    if factor > 0:
        return images.repeat(factor, 2).repeat(factor, 3)
    small = [np.asarray(Image.fromarray(image).reduce(-factor)) for row in images for image in row]
    return in_rows(np.stack(small), len(images))


def _breaks(before: Sequence[int], count: int) -> np.ndarray:
    """Count the breaks before each of the positions 0 to count."""
    return np.searchsorted(np.sort(np.asarray(before, int)), np.arange(count + 1), side="right")


def _spans(columns: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first column of each label, and the one after its last."""
    starts = [c for c, label in enumerate(columns) if label]
    return list(zip(starts, [*starts[1:], len(columns)], strict=True)) if starts else []


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 2]}.."


def _fitting(text: str, font: _Font, room: float) -> str:
    letters = len(text)
    while letters > 3 and font.getlength(_shortened(text, letters)) > room:
        letters -= 1
    return _shortened(text, letters)


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _width(text: str, font: _Font) -> float:
    return max(font.getlength(line) for line in text.split("\n"))
