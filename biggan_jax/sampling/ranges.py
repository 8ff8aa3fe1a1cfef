"""Lists of whole numbers and ranges, such as 0-9, in flags."""

import re

from biggan_jax.types import UserError

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
