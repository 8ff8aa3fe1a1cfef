"""Seconds of a clock and of the CPU. Without jax, since a peer's Python may have none."""

import resource
import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what work() returns, its seconds of wall time, and those of the CPU in all threads of this process."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    done = work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return done, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
