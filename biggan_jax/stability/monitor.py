"""Owns the watch over a run while it goes: looks, scores and faults, and the verdict on them. Must not know what follows from it."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.nonfinite import NonFinite
from biggan_jax.stability.rules import RULES, Rule, Verdict, judge, well
from biggan_jax.stability.schedule import ProbeSchedule
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class CollapseMonitor:
    """To be asked after each round. It reads the state and never changes it.

    To resume exactly, what a checkpoint's round showed must be recorded before the checkpoint is saved: `at_once`.

    score: a function of the state, called every `score_every` rounds, or None; nonfinite_limit: of NonFinite.excess; expected:
    of config.expected_scores; history: the records that led here; ignored: signals whose verdict was heard before.
    """

    watch: ProbeSchedule
    nonfinite: NonFinite
    nonfinite_limit: int
    score: Callable[[TrainState], float] | None
    score_every: int
    expected: Sequence[tuple[int, float]]
    history: list[Record]
    ignored: set[str]
    latest_score: float | None = None
    """That of the round just played, if it was due."""
    last_healthy_step: int | None = None
    """The last step whose look showed nothing wrong; None before there is one."""

    def __post_init__(self) -> None:
        ends = (i for i in range(len(self.history), 0, -1) if self._well(self.history[:i]))
        self.last_healthy_step = next((self.history[i - 1]["step"] for i in ends), None)

    def begin(self, state: TrainState) -> None:
        """To be asked before the first round of a run."""
        if record := self.watch.begin(state):
            self._remember(record)

    def after_step(self, step: int, state: TrainState, metrics: Metrics, *, at_once: bool = False) -> Verdict | None:
        """What is wrong, once it is known: looks are fetched a round late, unless it has to be known at once."""
        self.nonfinite.after_step(step, metrics)
        self.latest_score = None
        if self.score is not None and step % self.score_every == 0:
            self.latest_score = self.score(state)
            logger.info("step %d: score %.4g", step, self.latest_score)
        found = [self.watch.after_step(step, state, metrics, self.latest_score)]
        if at_once:
            self.nonfinite.look()
            found.append(self.watch.flush())
        if self.nonfinite.excess >= self.nonfinite_limit:
            return self._of_nonfinite(step)
        for record in filter(None, found):
            self._remember(record)
            if verdict := judge(self.history, self.expected, self.ignored, self._rules):
                return verdict
            if self._well(self.history):
                self.last_healthy_step = record["step"]
        return None

    @property
    def _rules(self) -> Sequence[Rule]:
        """Where only rounds with a score are looked at, looks are too few to be judged by."""
        return RULES if self.watch.every else ()

    def _well(self, history: list[Record]) -> bool:
        return bool(self._rules) and well(history, self._rules)

    def _remember(self, record: Record) -> None:
        self.history.append({name: value for name, value in record.items() if name != "singular"})

    def _of_nonfinite(self, step: int) -> Verdict:
        count = self.nonfinite.excess
        sentence = f"update after update, in {count} rounds, was not finite: {self.nonfinite.what}"
        return Verdict(step, max(step - count - 1, 0), NonFinite.SIGNAL, count, self.nonfinite_limit, sentence)
