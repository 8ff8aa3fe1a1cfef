"""Owns pictures in rows with words under them. Must not know what they show."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEAST = 96
"""Pixels across that a picture is enlarged to, by whole factors: as much as a few words need."""

MARGIN, LINE = 4, 16
"""Pixels between pictures, and of a line of words."""


def sheet(rows: Sequence[np.ndarray], captions: Sequence[Sequence[str]]) -> np.ndarray:
    """Rows of images uint8 [C, H, W, 3] on white, under each row no caption, one for all of it, or one an image: uint8 [H', W', 3].

    What is too long for its place is cut.
    """
    rows = [_enlarged(np.asarray(row)) for row in rows]
    height, width = rows[0].shape[1:3]
    cell = width + MARGIN
    wide = max(map(len, rows)) * cell + MARGIN
    tall = MARGIN + sum(height + MARGIN + LINE * bool(words) for words in captions)
    canvas = Image.new("RGB", (wide, tall), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    top = MARGIN
    for row, words in zip(rows, captions, strict=True):
        for i, image in enumerate(row):
            canvas.paste(Image.fromarray(image), (MARGIN + i * cell, top))
        room = width if len(words) > 1 else wide - 2 * MARGIN
        for i, text in enumerate(words):
            draw.text((MARGIN + i * cell, top + height), _fitting(text, font, room), "black", font)
        top += height + MARGIN + LINE * bool(words)
    return np.asarray(canvas)


def _enlarged(images: np.ndarray) -> np.ndarray:
    factor = -(-LEAST // images.shape[1])
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def _fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while font.getlength(words) > width:
        words = words.removesuffix("\N{HORIZONTAL ELLIPSIS}")[:-1] + "\N{HORIZONTAL ELLIPSIS}"
    return words
