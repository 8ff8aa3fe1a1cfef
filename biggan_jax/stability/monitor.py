"""The collapse monitor: after each step, evaluate probes, scores and non-finite updates."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.nonfinite import NonFinite
from biggan_jax.stability.rules import RULES, Rule, Verdict, evaluate, is_healthy
from biggan_jax.stability.schedule import ProbeSchedule
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class CollapseMonitor:
    """Evaluate a run after each step. It reads the state and never changes it.

    For an exact resume, the probe of a step must be recorded before the step's checkpoint is saved: pass `at_once`.

    Attributes:
        schedule: runs the probes.
        nonfinite: counts non-finite updates; `nonfinite_limit` of them are a verdict.
        score: computes a score from the state every `score_every` steps; None: never.
        expected: (step, score) pairs from config.expected_scores.
        history: the records of the probes on the current lineage, without singular values.
        ignored: signals whose verdict has no effect any more.
    """

    schedule: ProbeSchedule
    nonfinite: NonFinite
    nonfinite_limit: int
    score: Callable[[TrainState], float] | None
    score_every: int
    expected: Sequence[tuple[int, float]]
    history: list[Record]
    ignored: set[str]
    latest_score: float | None = None
    """The score of the step just done, if one was due."""
    last_healthy_step: int | None = None
    """The last step whose probe broke no rule; None before there is one."""

    def __post_init__(self) -> None:
        ends = (i for i in range(len(self.history), 0, -1) if self._is_healthy(self.history[:i]))
        self.last_healthy_step = next((self.history[i - 1]["step"] for i in ends), None)

    def begin(self, state: TrainState) -> None:
        """Probe the initial state. Call before the first step of a run."""
        if record := self.schedule.begin(state):
            self._remember(record)

    def after_step(self, step: int, state: TrainState, metrics: Metrics, *, at_once: bool = False) -> Verdict | None:
        """Return a verdict once it is known: probes are fetched one step late, or with `at_once` immediately."""
        self.nonfinite.after_step(step, metrics)
        self.latest_score = None
        if self.score is not None and step % self.score_every == 0:
            self.latest_score = self.score(state)
            logger.info("step %d: score %.4g", step, self.latest_score)
        found = [self.schedule.after_step(step, state, metrics, self.latest_score)]
        if at_once:
            self.nonfinite.fetch()
            found.append(self.schedule.flush())
        if self.nonfinite.excess >= self.nonfinite_limit:
            return self._nonfinite_verdict(step)
        for record in filter(None, found):
            self._remember(record)
            if verdict := evaluate(self.history, self.expected, self.ignored, self._rules):
                return verdict
            if self._is_healthy(self.history):
                self.last_healthy_step = record["step"]
        return None

    @property
    def _rules(self) -> Sequence[Rule]:
        """The rules in force: none if only steps with a score are probed, since those are too few."""
        return RULES if self.schedule.every else ()

    def _is_healthy(self, history: list[Record]) -> bool:
        return bool(self._rules) and is_healthy(history, self._rules)

    def _remember(self, record: Record) -> None:
        self.history.append({name: value for name, value in record.items() if name != "singular"})

    def _nonfinite_verdict(self, step: int) -> Verdict:
        count = self.nonfinite.excess
        sentence = f"the updates of {count} steps were not finite: {self.nonfinite.what}"
        return Verdict(step, max(step - count - 1, 0), NonFinite.SIGNAL, count, self.nonfinite_limit, sentence)
