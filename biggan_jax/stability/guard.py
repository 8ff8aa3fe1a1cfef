"""Owns the watch over a run while it goes: looks, scores and faults, and the verdict on them. Must not know what follows from it."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

from biggan_jax.json_lines import Record
from biggan_jax.stability.nonfinite import NonFinite
from biggan_jax.stability.rules import Verdict, judge
from biggan_jax.stability.watch import Watch
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Guard:
    """To be asked after each round. It reads the state and never changes it.

    score: a function of the state, called every `score_every` rounds (0: never); nonfinite_limit: rounds in a row; expected:
    of config.expected_scores; history: the records that led here; ignored: signals whose verdict was heard before.
    """

    watch: Watch
    nonfinite: NonFinite
    nonfinite_limit: int
    score: Callable[[TrainState], float]
    score_every: int
    expected: Sequence[tuple[int, float]]
    history: list[Record]
    ignored: set[str]
    latest_score: float | None = None
    """That of the round just played, if it was due."""

    def begin(self, state: TrainState) -> None:
        """To be asked before the first round of a run."""
        if not self.history and (record := self.watch.begin(state)):
            self.history.append(record)

    def after_step(self, step: int, state: TrainState, metrics: Metrics, *, last: bool = False) -> Verdict | None:
        """What is wrong, once it is known: looks are fetched a round late, but for the last."""
        self.nonfinite.after_step(step, metrics)
        due = self.score_every and step % self.score_every == 0
        self.latest_score = self.score(state) if due else None
        if due:
            logger.info("step %d: score %.4g", step, self.latest_score)
        found = [self.watch.after_step(step, state, metrics, self.latest_score)]
        if last:
            self.nonfinite.look()
            found.append(self.watch.flush())
        if self.nonfinite.in_a_row >= self.nonfinite_limit:
            return self._of_nonfinite(step)
        for record in filter(None, found):
            self.history.append(record)
            verdict = judge(self.history, self.expected, self.ignored)
            if verdict:
                return verdict
        return None

    def _of_nonfinite(self, step: int) -> Verdict:
        count = self.nonfinite.in_a_row
        sentence = f"{count} rounds in a row had an update that was not finite: {self.nonfinite.what}"
        return Verdict(step, max(step - count, 0), "nonfinite", count, self.nonfinite_limit, sentence)
