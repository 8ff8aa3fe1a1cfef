"""Parse the values of flags: ranges of values, sizes, thresholds."""

import math

from biggan_jax.errors import UserError


def limits_of(text: str) -> tuple[float, float]:
    """Parse --range=LOW:HIGH. Raises UserError.

    >>> limits_of("0:4095")
    (0.0, 4095.0)
    """
    try:
        low, high = (float(part) for part in text.split(":"))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError:
        raise UserError(f"--range={text} is not LOW:HIGH, the values of black and white, such as 0:4095") from None
    return low, high


def size_of(text: str) -> int | tuple[int, int]:
    """Parse --size: N for squares, HxW, or 0. Raises UserError.

    >>> size_of("96x128")
    (96, 128)
    """
    sides = tuple(int(side) for side in text.split("x") if side.isdecimal() and len(side) < 5)
    if len(sides) != text.count("x") + 1 or len(sides) > 2 or max(sides) > 4096 or (len(sides) == 2 and not min(sides)):
        raise UserError(f"--size={text} is no number of pixels up to 4096, and no HxW, such as 96x128")
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def thresholds_of(text: str) -> list[float]:
    """Parse LOW:HIGH:COUNT to COUNT equally spaced numbers. Raises UserError for other text.

    >>> thresholds_of("0.25:1.0:4")
    [0.25, 0.5, 0.75, 1.0]
    """
    try:
        low, high, count = (kind(part) for kind, part in zip((float, float, int), text.split(":"), strict=True))
    except ValueError:
        low = high = count = 0
    if not (0 < low < high < math.inf and 2 <= count <= 1000):
        raise UserError(f"--truncation_sweep={text} is not LOW:HIGH:COUNT with 0 < LOW < HIGH, such as 0.05:1.0:20")
    return [low + (high - low) * i / (count - 1) for i in range(count)]
