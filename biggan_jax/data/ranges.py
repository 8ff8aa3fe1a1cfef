"""Find the one range of values of a set's pictures of more than 8 bits, or refuse what is not clear."""

import dataclasses
import decimal
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from biggan_jax.data import exact, picture
from biggan_jax.data.picture import UnreadableError
from biggan_jax.types import UserError

WHITE = {"integers": (255, 1023, 4095, 16383, 65535), "floats": (1, 255, 65535)}
"""Values of white that are usual: those of 8, 10, 12, 14 and 16 bits, and 1."""

DARK = 16  # A set whose values nearly all lie below this part of white is not one that uses the range.
TOLERANCE = 0.01  # Floats that were resampled exceed their range by so much.
MOST_VALUES = 2**17  # Of a picture, from which a quantile is taken.
NAMED = 4  # Pictures of another scale that are named.


@dataclasses.dataclass(frozen=True)
class Seen:
    """What pictures of one kind of numbers have: their count, smallest and largest value, and highest 99 % quantile.

    plain: whether all are unsigned numbers of 16 bits. lowest, highest: the pictures of the smallest and the largest value.
    by_scale: k to the pictures whose largest value is above 2**(k-1) and at most 2**k: their count, the largest value of all, and
    some names in order. Pictures without a positive value are in none. unreadable: pictures without values, since they cannot be
    read.
    """

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    typical: float = -math.inf
    plain: bool = True
    lowest: str = ""
    highest: str = ""
    by_scale: Mapping[int, tuple[int, float, tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    unreadable: int = 0

    def __add__(self, other: "Seen") -> "Seen":
        lowest, highest = min((self, other), key=lambda seen: seen.low), max((self, other), key=lambda seen: seen.high)
        by_scale = dict(self.by_scale)
        for scale, (count, high, names) in other.by_scale.items():
            ours, own_high, own = by_scale.get(scale, (0, 0.0, ()))
            by_scale[scale] = ours + count, max(own_high, high), tuple(sorted({*own, *names})[:NAMED])
        return Seen(
            self.count + other.count,
            lowest.low,
            highest.high,
            max(self.typical, other.typical),
            self.plain and other.plain,
            lowest.lowest,
            highest.highest,
            by_scale,
            self.unreadable + other.unreadable,
        )


def of_values(values: np.ndarray, name: str = "") -> dict[str, Seen]:
    """Return what the values of one picture are, by their kind. All must be finite."""
    some = values.ravel()[:: max(1, values.size // MOST_VALUES)]
    low, high, typical = float(values.min()), float(values.max()), float(np.quantile(some, 0.99))
    by_scale = {math.ceil(math.log2(high)): (1, high, (name,))} if high > 0 else {}
    return {_kind(values): Seen(1, low, high, typical, values.dtype == np.uint16, name, name, by_scale)}


def of_rows(images: np.ndarray) -> dict[str, Seen]:
    """Return what an array of pictures [N, H, W, C] has."""
    return added(of_values(image, f"row {number}") for number, image in enumerate(images))


def _kind(values: np.ndarray) -> str:
    return "floats" if values.dtype.kind == "f" else "integers"


def scan(part: Any) -> dict[str, Seen]:
    """Return what the pictures of a part have that have more than 8 bits. Others are not decoded.

    part: has `selected`, such as `raw.Files`.
    """
    found: dict[str, Seen] = {}
    for item in part.selected(exact.may_be_deep):
        try:
            if not exact.is_deep(item.encoded):
                continue
            pixels = exact.read_any(picture.ended(item.encoded))
        except UnreadableError:  # It is named when the set is written.
            found = added([found, {"unreadable": Seen(unreadable=1)}])
            continue
        if pixels.image.dtype != np.uint8:
            found = added([found, of_values(pixels.image[..., :-1] if pixels.alpha else pixels.image, item.name)])
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

    Raises UserError if the set has integers and floats, if its values fit no usual range, or if some pictures have values of
    another scale than the others.
    """
    found = {kind: seen for kind, seen in found.items() if seen.count}
    if not found:
        return None, ""
    if len(found) > 1:
        listed = " and ".join(f"{seen.count:,} of {kind}, such as {seen.highest}," for kind, seen in found.items())
        how = "save them as one type, or give the values of black and white of both as --range=LOW:HIGH"
        raise UserError(f"of the pictures of more than 8 bits {listed} have no range in common; {how}")
    ((kind, seen),) = found.items()
    slack = TOLERANCE if kind == "floats" else 0
    white = next((white for white in WHITE[kind] if seen.high <= white * (1 + slack)), 0)
    if seen.low >= -white * slack:
        _refuse_two_scales(seen, white)
    low, high = (value_text(value, up) for value, up in ((seen.low, False), (seen.high, True)))
    what = f"the values of {seen.count:,} pictures of more than 8 bits are {low} to {high}"
    if not white or seen.low < -white * slack or seen.high <= white / 2 or seen.typical <= white / DARK:
        where = f" (smallest in {seen.lowest}, largest in {seen.highest})" if seen.lowest != seen.highest else ""
        most = f", and 99 % of each picture's are at most {seen.typical:g}" if seen.typical < seen.high / 2 else ""
        suggestion = (
            f"--range=LOW:HIGH, the values of black and white, such as --range={_given(seen)}, which has all of them"
        )
        raise UserError(f"{what}{where}{most}, which is no usual range; give {suggestion}")
    if seen.plain and white == WHITE[kind][-1]:
        return None, what
    return (0.0, float(white)), f"{what}; they are read as --range=0:{white}"


def _refuse_two_scales(seen: Seen, white: int) -> None:
    """Raise UserError if some pictures are dark by the largest value of the others: black, if the others are right.

    white: a usual value of white that holds all values; 0: there is none.
    """
    # 255 and 256 are one scale, as are 1 and values of resampled floats somewhat above it.
    most = 2.0 ** math.ceil(math.log2(white or seen.high)) if seen.high > 0 else 0.0
    dark = {scale: these for scale, these in seen.by_scale.items() if 2.0**scale <= most / DARK}
    bright = {scale: these for scale, these in seen.by_scale.items() if scale not in dark}
    if not dark or not bright:
        return
    counts = [sum(count for count, _, _ in group.values()) for group in (bright, dark)]
    named = [f"{count:,}" for count in counts]
    rarer = int(counts[1] < counts[0])
    names = sorted(name for _, _, names in (bright, dark)[rarer].values() for name in names)[:NAMED]
    named[rarer] += f" ({', '.join(names)}{', ...' if counts[rarer] > len(names) else ''})"
    least = value_text(max(high for _, high, _ in dark.values()), up=True)
    whole = f"0:{white}" if white else _given(seen)
    raise UserError(
        f"the values of {seen.count:,} pictures of more than 8 bits have two scales: those of {named[0]} reach up to "
        f"{value_text(seen.high, up=True)}, those of {named[1]} at most {least}, so one range would make the latter nearly black; "
        f"bring all to one scale, take the few out, or give --range=LOW:HIGH for all, such as --range={whole}"
    )


def value_text(value: float, up: bool) -> str:
    """Return a number in at most 6 digits, or an integer in all of its digits; rounded up or down.

    >>> value_text(1999.987654, up=True), value_text(-0.12345678, up=False), value_text(1234567, up=True)
    ('1999.99', '-0.123457', '1234567')
    """
    if float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))
    digits = decimal.Context(prec=6, rounding=decimal.ROUND_CEILING if up else decimal.ROUND_FLOOR)
    return f"{digits.create_decimal(repr(value)).normalize():g}"


def clipped(found: Mapping[str, Seen], limits: tuple[float, float]) -> str:
    """Return a sentence about values outside of a range that was given; "" if it has all values."""
    beyond = [seen for seen in found.values() if seen.count and not limits[0] <= seen.low <= seen.high <= limits[1]]
    if not beyond:
        return ""
    low, high = min(beyond, key=lambda seen: seen.low), max(beyond, key=lambda seen: seen.high)
    texts = value_text(low.low, up=False), value_text(high.high, up=True)
    where = f"smallest in {low.lowest}, largest in {high.highest}"
    return f"the values are {texts[0]} to {texts[1]} ({where}); --range cuts off those outside of it"


def _given(seen: Seen) -> str:
    """Return a range that has all values."""
    high = seen.high if seen.high > seen.low else seen.low + max(1.0, abs(seen.low))
    return f"{value_text(seen.low, up=False)}:{value_text(high, up=True)}"
