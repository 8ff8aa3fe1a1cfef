"""Parse whole numbers and ranges, such as 0-9, in flags."""

import re
from collections.abc import Sequence

import numpy as np

from biggan_jax.errors import UserError

MOST, LARGEST = 100_000, 2**31 - 1
"""Seeds of one command, and the largest of them."""

_RANGE = re.compile(r"\s*(\d{1,12})(?:\s*-\s*(\d{1,12}))?\s*")


def parse_range(text: str) -> range | None:
    """Return the numbers of `7` or `0-9`, both ends included; None for other text. Raises UserError for 9-0.

    >>> parse_range("0-9"), parse_range("7"), parse_range("cat")
    (range(0, 10), range(7, 8), None)
    """
    match = _RANGE.fullmatch(text)
    if not match:
        return None
    low, high = int(match[1]), int(match[2] or match[1])
    if high < low:
        raise UserError(f"the range {text} ends before it begins; give {high}-{low}")
    return range(low, high + 1)


def parse_seeds(given: Sequence[str]) -> np.ndarray:
    """Parse --seeds, such as 0-35 or 3,8,100-110, to int64 [N], each seed once, in its order. Raises UserError."""
    what = f"--seeds={','.join(given)}"
    seeds: dict[int, None] = {}
    for text in given:
        numbers = parse_range(text)
        if numbers is None or numbers[-1] > LARGEST:
            raise UserError(f"{what}: {text!r} is no seed or range from 0 to {LARGEST}, such as 0-35 or 3,8,20-29")
        if len(seeds) + len(numbers) > MOST:
            raise UserError(f"{what} has more than {MOST:,} seeds; give fewer")
        seeds |= dict.fromkeys(numbers)
    return np.array(list(seeds), np.int64)
