"""Count the steps whose updates were not finite and name the weights at fault."""

import logging

import jax
import numpy as np

from biggan_jax.family import Family
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

logger = logging.getLogger(__name__)

NAMED = 3
"""How many of the weights at fault are named."""


class NonFinite:
    """Count non-finite updates by the metrics d_faults and g_faults of every step.

    They are fetched every `every` steps, without the step in progress, so that the device never waits.
    """

    SIGNAL = "nonfinite"
    """The signal of its verdict."""

    def __init__(self, every: int, family: Family, state: TrainState):
        self._every = every
        self._names = {
            f"{update.prefix}_faults": [
                *(path for name in sorted(update.trains) for path in _paths(state.networks[name].params, name)),
                f"{'_'.join(update.trains)}'s loss",
            ]
            for update in family.updates()
        }
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.excess = 0
        """The net number of recent non-finite steps: a non-finite step adds one, a finite one subtracts one, down to 0."""
        self.what = ""
        """What was at fault in the last non-finite step."""

    def after_step(self, step: int, metrics: Metrics) -> None:
        if step % self._every == 0:
            self.fetch()
        self._pending.append((step, {name: metrics[name] for name in self._names}))

    def fetch(self) -> None:
        """Fetch pending faults, count them and log what was at fault."""
        pending, self._pending = jax.device_get(self._pending), []
        for step, faults in pending:
            at_fault = self._at_fault(faults)
            if not at_fault:
                self.excess = max(self.excess - 1, 0)
                continue
            self.excess += 1
            self.what = _summary(at_fault)
            if self.excess in (1, 10, 100, 1000):
                logger.warning("step %d: an update was not finite, so not applied: %s", step, self.what)

    def _at_fault(self, faults: dict[str, np.ndarray]) -> list[str]:
        """Return the names at fault: D's first, since D is updated first."""
        return [
            name
            for metric, names in self._names.items()
            for name, bad in zip(names, np.any(np.atleast_2d(faults[metric]), axis=0), strict=True)
            if bad
        ]


def _paths(params, network: str) -> list[str]:
    keystr = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return [f"{network}'s {keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _summary(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
