"""Array layouts there (PyTorch) and here; each conversion is the exact inverse of the other."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Move = Callable[[np.ndarray], np.ndarray]


class Layout(NamedTuple):
    to_here: Move
    to_there: Move

    def then(self, other: "Layout") -> "Layout":
        """Compose: to_here applies this layout, then `other`; to_there the reverse."""
        return Layout(lambda a: other.to_here(self.to_here(a)), lambda a: self.to_there(other.to_there(a)))


SAME = Layout(lambda a: a, lambda a: a)
TRANSPOSED = Layout(np.transpose, np.transpose)  # Dense: [out, in] and [in, out].
CONVOLUTION = Layout(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))  # OIHW and HWIO.
ROW = Layout(lambda a: a[0], lambda a: a[None])  # [1, n] and [n], or [1] and [].


def channels_last(size: int = 4) -> Layout:
    """Axis 0 is a flattened (C, size, size) image there, and (size, size, C) here."""
    return Layout(
        lambda a: a.reshape(-1, size, size, *a.shape[1:]).transpose(1, 2, 0, *range(3, a.ndim + 2)).reshape(a.shape),
        lambda a: a.reshape(size, size, -1, *a.shape[1:]).transpose(2, 0, 1, *range(3, a.ndim + 2)).reshape(a.shape),
    )


def rotated(first_there: int, axis: int) -> Layout:
    """The axis has two pieces in reverse order; the first one there has this length."""
    return Layout(lambda a: np.roll(a, -first_there, axis), lambda a: np.roll(a, first_there, axis))
