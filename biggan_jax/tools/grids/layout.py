"""Owns what a sheet is, and how pictures and words become one picture. Must not know where the pictures come from."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALLEST, LONGEST = 72, 4096
"""Pixels. By whole factors, small pictures are enlarged to SMALLEST or more, and large ones are shrunk, but not below that,
where they would be more than LONGEST in a row or column."""

LETTERS = 28
"""Of a line of words beside a row; longer ones end in dots."""


FRAME = "#dddddd"


class Sheet(NamedTuple):
    """Pictures in rows and columns, with words.

    images: uint8 [rows, columns, H, W, 3]. rows: words to the left of each, if any. columns: words above each, if any; one
    without words shares those to its left. captions: words under each picture, by rows, if any. row_breaks, column_breaks:
    before which rows and columns a gap stands.
    """

    images: np.ndarray
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    captions: Sequence[Sequence[str]] = ()
    row_breaks: Sequence[int] = ()
    column_breaks: Sequence[int] = ()


def in_rows(images: np.ndarray, rows: int) -> np.ndarray:
    """[N, H, W, 3] to [rows, N / rows, H, W, 3]."""
    return images.reshape(rows, -1, *images.shape[1:])


def draw(sheet: Sheet, smallest: int = SMALLEST) -> np.ndarray:
    """The sheet on white, its words in black: uint8 [H, W, 3]. smallest: what pictures are enlarged to, or above."""
    rows, columns, height, width, _ = sheet.images.shape
    images = _resized(sheet.images, _factor(max(rows * height, columns * width), min(height, width), smallest))
    _, _, height, width, _ = images.shape
    margin = max(2, width // 36)
    size = max(14, min(width // 9, 40))
    font = ImageFont.load_default(size)
    line = round(1.4 * size)

    labels = ["\n".join(_shortened(part, LETTERS) for part in words.split("\n")) for words in sheet.rows]
    edge = 4 * margin
    left = edge + (round(max(_width(label, font) for label in labels)) + 2 * margin if any(labels) else 0)
    top = edge + (line if any(sheet.columns) else 0)
    # A row is no lower than its words.
    under = max((_lines(caption) for row in sheet.captions for caption in row), default=0)
    under_height = (under * line + line // 2) if under else 0
    row_height = max(height + under_height, max(map(_lines, labels), default=0) * line) + margin
    y = top + row_height * np.arange(rows + 1) + 8 * margin * _breaks(sheet.row_breaks, rows)
    x = left + (width + margin) * np.arange(columns + 1) + 8 * margin * _breaks(sheet.column_breaks, columns)

    canvas = Image.new("RGB", (int(x[-1]) - margin + edge, int(y[-1]) - margin + edge), "white")
    pen = ImageDraw.Draw(canvas)
    for r, c in np.ndindex(rows, columns):
        # White pictures have edges, too.
        pen.rectangle((x[c] - 1, y[r] - 1, x[c] + width, y[r] + height), outline=FRAME)
        canvas.paste(Image.fromarray(images[r, c]), (int(x[c]), int(y[r])))
    for r, label in enumerate(labels):
        place = left - 2 * margin, y[r] + height / 2
        pen.multiline_text(place, label, "black", font, anchor="rm", align="right", spacing=size // 4)
    for start, end in _spans(sheet.columns):
        room = x[end - 1] + width - x[start]
        middle = x[start] + room / 2
        pen.text((middle, top - margin), _fitting(sheet.columns[start], font, room), "black", font, anchor="md")
    for r, captions in enumerate(sheet.captions):
        for c, caption in enumerate(captions):
            place = x[c] + width / 2, y[r] + height + margin
            fitting = "\n".join(_fitting(part, font, width) for part in caption.split("\n"))
            pen.multiline_text(place, fitting, "black", font, anchor="ma", align="center", spacing=size // 4)
    return np.asarray(canvas)


def _factor(longest: int, size: int, smallest: int) -> int:
    """Above 0 to enlarge by, below to shrink by: pictures of `size` pixels, of which `longest` pixels are in a row."""
    if longest > LONGEST and size >= 2 * smallest:
        return -min(math.ceil(longest / LONGEST), size // smallest)
    return max(1, min(math.ceil(smallest / size), LONGEST // longest))


def _resized(images: np.ndarray, factor: int) -> np.ndarray:
    """By a whole factor, see _factor: single pixels repeated, or areas averaged."""
    if factor > 0:
        return images.repeat(factor, 2).repeat(factor, 3)
    small = [np.asarray(Image.fromarray(image).reduce(-factor)) for row in images for image in row]
    return in_rows(np.stack(small), len(images))


def _breaks(before: Sequence[int], count: int) -> np.ndarray:
    """How many breaks stand before each of the places 0 to count."""
    return np.searchsorted(np.sort(np.asarray(before, int)), np.arange(count + 1), side="right")


def _spans(columns: Sequence[str]) -> list[tuple[int, int]]:
    """First column, and the one after the last, of each of the words."""
    starts = [c for c, words in enumerate(columns) if words]
    return list(zip(starts, [*starts[1:], len(columns)], strict=True)) if starts else []


def _shortened(words: str, letters: int) -> str:
    return words if len(words) <= letters else f"{words[: letters - 2]}.."


def _fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    letters = len(words)
    while letters > 3 and font.getlength(_shortened(words, letters)) > room:
        letters -= 1
    return _shortened(words, letters)


def _lines(words: str) -> int:
    return words.count("\n") + 1


def _width(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    return max(font.getlength(line) for line in words.split("\n"))
