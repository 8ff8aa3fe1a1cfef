"""Parse sums such as `0.5*cat + 0.5*dog - 3`."""

import re

from biggan_jax.types import UserError

TERM = re.compile(r"(?P<sign>[+-])?\s*(?:(?P<factor>\d+\.?\d*|\.\d+)\s*\*\s*)?(?P<name>[^\s*+-](?:[^*]*[^\s*])?)")


def terms(text: str) -> list[tuple[float, str]]:
    """Return (factor, name) of each term, in order. Raises UserError if `text` is not such a sum.

    + and - between terms need a space on both sides, because names, such as those of files, may contain them.

    >>> terms("0.5*cat + 0.5*dog - siamese-cat")
    [(0.5, 'cat'), (0.5, 'dog'), (-1.0, 'siamese-cat')]
    """
    first, *rest = re.split(r"\s([+-])(?=\s|$)", text)
    found = []
    for sign, term in zip(["+", *rest[::2]], [first, *rest[1::2]], strict=True):
        match = TERM.fullmatch(term.strip())
        if not match:
            raise UserError(f"{text!r} is not a sum such as 207 - 281 + 0.5*3, with spaces around + and -")
        negative = (sign == "-") != (match["sign"] == "-")
        found.append((float(match["factor"] or 1) * (-1 if negative else 1), match["name"]))
    return found


def row_of(name: str) -> tuple[str, int]:
    """Split FILE.npz:ROW into file and row; the row defaults to 0."""
    path, _, row = name.rpartition(":")
    return (path, int(row)) if path and row.isdecimal() else (name, 0)
