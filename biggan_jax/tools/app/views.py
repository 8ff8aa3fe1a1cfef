"""Parse the query of a link to the page: seeds, classes, truncation.

?seed=3&class=7&num=8&truncation=0.5                    eight images of class 7, with seeds 3 to 10
?seed=3&class=7:0.8,9:0.2                               a mixture of two classes
?seed=3&class=7&to_seed=5&to_class=9&num=12             twelve steps from one image to another
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from biggan_jax.types import UserError

MAX_IMAGES, MAX_MIXED, SEEDS = 32, 8, 2**31  # Images in one view, classes in one mixture, and seeds, 0 to SEEDS - 1.

KEYS = ("seed", "class", "num", "truncation", "to_seed", "to_class")


class End(NamedTuple):
    """Seed and classes of one image: (class, weight), weights summing to one; none for an unconditional model."""

    seed: int
    mixture: tuple[tuple[int, float], ...]


class View(NamedTuple):
    """`num` images with consecutive seeds from `start`; or, with a `goal`, `num` steps from `start` to it."""

    num: int
    truncation: float | None
    start: End
    goal: End | None = None


def parse(query: Mapping[str, str], num_classes: int, limit: float | None, *, zero: bool = False) -> View:
    """Parse a query. limit: the largest truncation; None if the model takes none. zero: it may be 0, as psi of w may.

    Raises UserError if any part is invalid.
    """
    for key in query:
        if key not in KEYS:
            raise UserError(f"{key!r} is unknown; a link may have {', '.join(KEYS)}")
    num = _whole(query, "num", 8, 1, MAX_IMAGES)
    truncation = None
    if "truncation" in query:
        if limit is None:
            raise UserError("truncation is not defined for this model, whose z is not drawn from a normal distribution")
        truncation, text = _number(query["truncation"]), _short(query["truncation"])
        if not (0 < truncation <= limit or (zero and truncation == 0)):
            least = "from" if zero else "above"
            raise UserError(f"truncation {text} is not a number {least} 0 and up to {limit:g}; omit it for none")
    start = End(_whole(query, "seed", 0, 0, SEEDS - 1), _mixture(query.get("class"), num_classes))
    if "to_seed" not in query and "to_class" not in query:
        return View(num, truncation, start)
    mixture = _mixture(query["to_class"], num_classes) if "to_class" in query else start.mixture
    return View(num, truncation, start, End(_whole(query, "to_seed", start.seed, 0, SEEDS - 1), mixture))


def _whole(query: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    number = _digits(query[key]) if key in query else default
    if number is None or not least <= number <= most:
        raise UserError(f"{key} {_short(query[key])} is not a whole number from {least} to {most}")
    return number


def _mixture(text: str | None, num_classes: int) -> tuple[tuple[int, float], ...]:
    """Parse `7` or `7:0.8,9:0.2`; weights are normalised."""
    if not num_classes:
        if text is not None:
            raise UserError("this model is unconditional; it has no classes")
        return ()
    parts = [part.partition(":") for part in ("0" if text is None else text).split(",")]
    if len(parts) > MAX_MIXED:
        raise UserError(f"a mixture of {len(parts)} classes is too large; give at most {MAX_MIXED}")
    weights: dict[int, float] = {}
    for name, colon, weight in parts:
        label, share = _digits(name), _number(weight) if colon else 1.0
        if label is None or label >= num_classes:
            raise UserError(f"class {_short(name)} is unknown; this model has classes 0 to {num_classes - 1}")
        if label in weights:
            raise UserError(f"class {label} is given twice")
        if not 0 <= share <= 1:
            raise UserError(f"the weight {_short(weight)} of class {label} is not a number from 0 to 1")
        weights[label] = share
    total = sum(weights.values())
    if total < 1e-6:
        raise UserError("at least one weight of a mixture must be above 0")
    return tuple((label, share / total) for label, share in weights.items())


def _digits(text: str) -> int | None:
    # int() accepts signs, spaces, underscores, and any number of digits.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _number(text: str) -> float:
    """Parse a number; NaN, which is in no range, for other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _short(text: str) -> str:
    return repr(text if len(text) <= 20 else text[:20] + "...")
