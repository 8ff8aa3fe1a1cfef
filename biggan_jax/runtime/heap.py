"""Give free memory of the heap back to the system."""

import ctypes
import functools
from collections.abc import Callable


def trim() -> bool:
    """Return what is free in all arenas of glibc's malloc to the system; False with another C library. Takes milliseconds.

    Each thread that saves a checkpoint has an arena, and the pieces that are left free in it are kept for good.
    """
    release = _malloc_trim()
    return release is not None and release(0) in (0, 1)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # macOS, musl.
        return None
