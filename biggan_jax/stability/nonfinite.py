"""Owns the count of rounds whose updates were not finite, and the names of the weights at fault. Must not know networks."""

import logging

import jax
import numpy as np

from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

logger = logging.getLogger(__name__)

NAMED = 3
"""Weights that are named, of all that are at fault."""


class NonFinite:
    """Watches d_faults and g_faults of every round. They are fetched `every` so many rounds, the round under way left out, so that the
    device never waits."""

    SIGNAL = "nonfinite"
    """Of its verdict."""

    def __init__(self, every: int, state: TrainState):
        self._every = every
        self._names = {
            "d_faults": [*_paths(state.discriminator.params, "D"), "D's loss"],
            "g_faults": [*_paths(state.generator.params, "G"), "G's loss"],
        }
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.excess = 0
        """So many more rounds with an update that was not applied than rounds without there were lately; in a row, their number."""
        self.what = ""
        """What was at fault in the last of them."""

    def after_step(self, step: int, metrics: Metrics) -> None:
        if step % self._every == 0:
            self.look()
        self._pending.append((step, {name: metrics[name] for name in self._names}))

    def look(self) -> None:
        """Fetches what is not fetched yet, and tells of what was at fault."""
        pending, self._pending = jax.device_get(self._pending), []
        for step, faults in pending:
            at_fault = self._at_fault(faults)
            if not at_fault:
                self.excess = max(self.excess - 1, 0)
                continue
            self.excess += 1
            self.what = _said(at_fault)
            if self.excess in (1, 10, 100, 1000):
                logger.warning("step %d: an update was not finite, so not applied: %s", step, self.what)

    def _at_fault(self, faults: dict[str, np.ndarray]) -> list[str]:
        """Names, of D's updates first, as they come first."""
        return [
            name
            for player, names in self._names.items()
            for name, bad in zip(names, np.any(np.atleast_2d(faults[player]), axis=0), strict=True)
            if bad
        ]


def _paths(params, player: str) -> list[str]:
    keystr = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return [f"{player}'s {keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _said(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
