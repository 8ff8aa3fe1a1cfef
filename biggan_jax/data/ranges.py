"""Find the one range of values of a set's pictures of more than 8 bits, or refuse what is not clear."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from biggan_jax.data import exact
from biggan_jax.data.picture import UnreadableError
from biggan_jax.types import UserError

WHITE = {"integers": (255, 1023, 4095, 16383, 65535), "floats": (1, 255, 65535)}
"""Values of white that are usual: those of 8, 10, 12, 14 and 16 bits, and 1."""

DARK = 16  # A set whose values nearly all lie below this part of white is not one that uses the range.
TOLERANCE = 0.01  # Floats that were resampled exceed their range by so much.
MOST_VALUES = 2**17  # Of a picture, from which a quantile is taken.


@dataclasses.dataclass(frozen=True)
class Seen:
    """What pictures of one kind of numbers have: their count, smallest and largest value, and highest 99 % quantile.

    plain: whether all are unsigned numbers of 16 bits.
    """

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    typical: float = -math.inf
    plain: bool = True

    def __add__(self, other: "Seen") -> "Seen":
        low, high = min(self.low, other.low), max(self.high, other.high)
        plain = self.plain and other.plain
        return Seen(self.count + other.count, low, high, max(self.typical, other.typical), plain)


def of_values(values: np.ndarray, count: int = 1) -> dict[str, Seen]:
    """Return what these values are, by their kind. Values that are not finite count for nothing."""
    kind = "floats" if values.dtype.kind == "f" else "integers"
    if not np.isfinite(values).all():
        return {}
    some = values.ravel()[:: max(1, values.size // MOST_VALUES)]
    low, high, typical = float(values.min()), float(values.max()), float(np.quantile(some, 0.99))
    return {kind: Seen(count, low, high, typical, values.dtype == np.uint16)}


def scan(part: Any) -> dict[str, Seen]:
    """Return what the pictures of a part have that have more than 8 bits. Others are not decoded.

    part: has `selected`, such as `raw.Files`.
    """
    found: dict[str, Seen] = {}
    for item in part.selected(exact.may_be_deep):
        try:
            if not exact.is_deep(item.encoded):
                continue
            pixels = exact.read_any(item.encoded)
        except UnreadableError:
            continue  # It is named when the set is written.
        if pixels.image.dtype != np.uint8:
            found = added([found, of_values(pixels.image[..., :-1] if pixels.alpha else pixels.image)])
    return found


def added(each: Iterable[Mapping[str, Seen]]) -> dict[str, Seen]:
    """Join what several parts have."""
    found: dict[str, Seen] = {}
    for seen in each:
        for kind, own in seen.items():
            found[kind] = found.get(kind, Seen()) + own
    return found


def choose(found: Mapping[str, Seen]) -> tuple[tuple[float, float] | None, str]:
    """Return the values of black and white, and a sentence. None: all pictures use their 8 or 16 bits.

    Raises UserError if the set has integers and floats, or if its values fit no usual range.
    """
    if not found:
        return None, ""
    if len(found) > 1:
        listed = " and ".join(f"{seen.count:,} of {kind}" for kind, seen in found.items())
        raise UserError(f"of the pictures of more than 8 bits {listed} have no range in common; save them as one type")
    ((kind, seen),) = found.items()
    slack = TOLERANCE if kind == "floats" else 0
    white = next((white for white in WHITE[kind] if seen.high <= white * (1 + slack)), 0)
    what = f"the values of {seen.count:,} pictures of more than 8 bits are {seen.low:g} to {seen.high:g}"
    if not white or seen.low < -white * slack or seen.high <= white / 2 or seen.typical <= white / DARK:
        most = f", and 99 % of each picture's are below {seen.typical:g}" if seen.typical < seen.high / 2 else ""
        suggestion = f"--range=LOW:HIGH, the values of black and white, such as --range={_given(seen)}"
        raise UserError(f"{what}{most}, which is no usual range; give {suggestion}")
    if seen.plain and white == WHITE[kind][-1]:
        return None, what
    return (0.0, float(white)), f"{what}; they are read as --range=0:{white}"


def parse(text: str) -> tuple[float, float]:
    """Parse --range=LOW:HIGH. Raises UserError.

    >>> parse("0:4095")
    (0.0, 4095.0)
    """
    try:
        low, high = (float(part) for part in text.split(":"))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError:
        raise UserError(f"--range={text} is not LOW:HIGH, the values of black and white, such as 0:4095") from None
    return low, high


def _given(seen: Seen) -> str:
    high = seen.typical if seen.typical > seen.low else seen.high
    return f"{seen.low:g}:{high if high > seen.low else seen.low + 1:g}"
