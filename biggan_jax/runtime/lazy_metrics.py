"""Metrics of lazy updates, which do not run in each step."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from biggan_jax.types import Metrics


class LazyMetrics:
    """Keeps the metrics of the last step in which each lazy update ran, until they are taken; fetches nothing.

    periods: see Family.
    """

    def __init__(self, periods: Iterable[int] = ()):
        self._periods = sorted({*periods} - {1})
        self._last: dict[int, Metrics] = {}

    def after_step(self, step: int, metrics: Metrics) -> None:
        self._last |= {period: metrics for period in self._periods if (step - 1) % period == 0}

    def take(self) -> list[Metrics]:
        """Return what was kept, and forget it."""
        taken, self._last = [*self._last.values()], {}
        return taken


def scalars(metrics: Metrics, lazy: Sequence[Metrics]) -> dict[str, float]:
    """Return a step's metrics as numbers, those of lazy updates that did not run in it from `lazy`, or left out."""
    values = {name: float(value) for name, value in metrics.items() if not name.endswith("_faults")}
    if any(np.any(value) for name, value in metrics.items() if name.endswith("_faults")):
        return values
    # Without a fault, NaN marks an update that did not run in this step.
    absent = [name for name, value in values.items() if math.isnan(value)]
    for earlier in lazy:
        values |= {name: float(earlier[name]) for name in absent if math.isnan(values[name])}
    return {name: value for name, value in values.items() if not math.isnan(value)}
