"""The collapse monitor: after each step, evaluate probes, scores and non-finite updates."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.data.dataset import Source
from biggan_jax.data.domains import Two
from biggan_jax.data.loader import HostBatches
from biggan_jax.family import Family
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.lazy_metrics import LazyMetrics, scalars
from biggan_jax.runtime.metric_writer import MetricWriter
from biggan_jax.stability import arrays, batches
from biggan_jax.stability.arrays import Magnitudes, listed
from biggan_jax.stability.rules import NONFINITE, RULES, Rule, Verdict, evaluate, is_healthy, not_finite_verdict
from biggan_jax.stability.signals import Probe, probe
from biggan_jax.state import TrainState
from biggan_jax.types import Batch, Metrics

logger = logging.getLogger(__name__)

STEP_METRICS = ("_loss", "_grad_norm")  # Endings of the step's metrics that a probe's record repeats.
MIN_IMAGES = 64  # Minimum images per probe and source; fewer are too noisy.


class ProbeSchedule:
    """Probe the initial state, then every `every` steps (0: never); fetch one step late, so that the device never waits.

    images: the images of signals.probe. writer: receives the records; None except in process 0. periods: the values of
    `Update.every`; a record has the metrics of each lazy update from the last step in which it ran since the last probe.
    """

    def __init__(self, gan: Family, every: int, images: dict, writer: MetricWriter | None, periods: Iterable[int] = ()):
        self.every, self._images, self._writer, self._lazy = every, images, writer, LazyMetrics(periods)
        self._gan, self._probed = gan, gan
        self._probe = self._compiled(gan)
        self._of_batch = jax.jit(batches.signals_of, out_shardings=gan.mesh and sharding.replicated(gan.mesh))
        self._pending: tuple[int, Probe, Magnitudes, Metrics, list[Metrics], dict[str, float]] | None = None

    def begin(self, state: TrainState) -> Record | None:
        """Probe the initial state, to compare later probes with."""
        if not self.every:
            return None
        step = int(state.step)
        self._pending = step, self._run(step, state), self._magnitudes(state), {}, [], {}
        return self.flush()

    def after_step(
        self,
        step: int,
        state: TrainState,
        metrics: Metrics,
        scores: dict[str, float] | None = None,
        batch: Batch | None = None,
    ) -> Record | None:
        """Probe the step if it is due or has scores, by name. Return the record of the previous probe, once.

        batch: the step's real images.
        """
        record = self.flush()
        metrics = {name: value for name, value in metrics.items() if name.endswith((*STEP_METRICS, "_faults"))}
        self._lazy.after_step(step, metrics)
        if scores or (self.every and step % self.every == 0):
            probed = self._run(step, state, batch), self._magnitudes(state)
            self._pending = step, *probed, metrics, self._lazy.take(), scores or {}
        return record

    def not_finite(self, state: TrainState) -> list[str]:
        """Return the names of the state's arrays that hold a value that is not finite. Waits for the state."""
        return arrays.not_finite(self._magnitudes(state).by_name())

    @staticmethod
    def _compiled(gan: Family) -> Callable[..., Probe]:
        return jax.jit(functools.partial(probe, gan), out_shardings=gan.mesh and sharding.replicated(gan.mesh))

    def _run(self, step: int, state: TrainState, batch: Batch | None = None) -> Probe:
        wait = jax.block_until_ready if jax.default_backend() == "cpu" else lambda x: x
        # Wait before and after: on CPU, the collectives of a concurrent training step would deadlock with those of the probe.
        probed = wait(self._probe_of(step)(wait(state), self._images))
        if batch and "real" in self._images:
            probed = probed._replace(
                signals=probed.signals | wait(self._of_batch(batch["image"], self._images["real"][0]))
            )
        return probed

    def _probe_of(self, step: int) -> Callable[..., Probe]:
        if (now := self._gan.after(step)) is not self._probed:  # Networks that grow have a program for each stage.
            self._probed, self._probe = now, self._compiled(now)
        return self._probe

    def _magnitudes(self, state: TrainState) -> Magnitudes:
        if jax.default_backend() != "cpu":
            return arrays.magnitudes(state, self._gan.mesh)
        found = arrays.magnitudes(jax.block_until_ready(state), self._gan.mesh)
        jax.block_until_ready(found.largest)
        return found

    def flush(self) -> Record | None:
        """Fetch, write and return the record of the pending probe, if any."""
        if self._pending is None:
            return None
        (step, probed, found, *others), self._pending = self._pending, None
        (signals, singular), largest, metrics, lazy, scores = jax.device_get((probed, found.largest, *others))
        largest = found._replace(largest=largest).by_name()
        of_arrays, where = arrays.signals_of(largest)
        signals = signals | of_arrays
        metrics = {name: value for name, value in scalars(metrics, lazy).items() if not np.isnan(value)}
        record = {
            "step": int(step),
            "signals": {name: float(value) for name, value in (signals | metrics | scores).items()},
            "singular": jax.tree.map(lambda values: [float(v) for v in values], singular),
        }
        record["where"] = where
        if at_fault := arrays.not_finite(largest):
            record["not_finite"] = listed(at_fault)
        if self._writer:
            self._writer.write_probe(record)
        return record


def images_for_probes(
    sources: dict[str, Source],
    seed: int,
    batch_size: int,
    mesh: Mesh,
    host: tuple[int, int],
    domains: Callable[[Source], Two | None] = lambda source: None,
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Return the images of all probes of a run: `batch_size` from each source, at least MIN_IMAGES, sharded over the mesh.

    domains: how a source is read that has two; its images are those of B, with those of A in place of labels.
    """
    batch_size = max(batch_size, sharding.divisible(MIN_IMAGES, mesh))
    images = {}
    for name, source in sources.items():
        make = HostBatches(source, seed, 0, 1, batch_size, flip=False, crop="center", host=host[0], hosts=host[1])
        if two := domains(source):
            make = dataclasses.replace(make, domains=two.unchanged())
        batch = sharding.shard_batch(make(0)[0], mesh)
        images[name] = batch["image"][0], batch["label"][0]
        if "other" in batch:
            images[name] = batch["other"][0], batch["image"][0]
    return images


class NonFinite:
    """Count the steps whose updates were not finite, by their metrics d_faults and g_faults, and name the weights at fault.

    They are fetched every `every` steps, without the step in progress, so that the device never waits.

    excess: the net number of recent non-finite steps: one adds 1, a finite one subtracts 1, down to 0. what: what was at
    fault in the last non-finite step.
    """

    def __init__(self, every: int, family: Family, state: TrainState):
        self.excess, self.what = 0, ""
        self._every = every
        self._names: dict[str, list[str]] = {}
        for update in family.updates():
            names = [f"{n}'s {path}" for n in sorted(update.trains) for path in named_arrays(state.networks[n].params)]
            self._names[f"{update.prefix}_faults"] = [*names, f"{'_'.join(update.trains)}'s loss"]
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []

    def after_step(self, step: int, metrics: Metrics) -> None:
        if step % self._every == 0:
            self.fetch()
        self._pending.append((step, {name: metrics[name] for name in self._names}))

    def fetch(self) -> None:
        """Fetch pending faults, count them and log what was at fault: D's first, since D is updated first."""
        pending, self._pending = jax.device_get(self._pending), []
        for step, faults in pending:
            at_fault: list[str] = []
            for metric, names in self._names.items():
                bad = np.any(np.atleast_2d(faults[metric]), axis=0)
                at_fault += [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
            if not at_fault:
                self.excess = max(self.excess - 1, 0)
                continue
            self.excess += 1
            self.what = listed(at_fault)
            if self.excess in (1, 10, 100, 1000):
                logger.warning("step %d: an update was not finite, so not applied: %s", step, self.what)


@dataclasses.dataclass
class CollapseMonitor:
    """Evaluate a run after each step. It reads the state and never changes it.

    For an exact resume, the probe of a step must be recorded before the step's checkpoint is saved: pass `at_once`.

    nonfinite_limit: an excess of so many non-finite updates is a verdict. score: computes a score from the state every
    `score_every` steps; None: never. expected: (step, score) pairs from config.expected_scores. history: the records of the
    probes on the current lineage, without singular values. ignored: signals whose verdict has no effect any more.
    rules: by which probes are evaluated. real_scores: signals that are recorded beside each score, such as that of real images.
    latest_score: of the step just done, if one was due. last_healthy_step: the last one whose probe broke no rule, if any.
    """

    schedule: ProbeSchedule
    nonfinite: NonFinite
    nonfinite_limit: int
    score: Callable[[TrainState], float] | None
    score_every: int
    expected: Sequence[tuple[int, float]]
    history: list[Record]
    ignored: set[str]
    rules: tuple[Rule, ...] = RULES
    real_scores: dict[str, float] = dataclasses.field(default_factory=dict)
    latest_score: float | None = None
    last_healthy_step: int | None = None

    def __post_init__(self) -> None:
        # None if only steps with a score are probed, since those are too few.
        self._rules = self.rules if self.schedule.every else ()
        ends = (i for i in range(len(self.history), 0, -1) if is_healthy(self.history[:i], self._rules))
        self.last_healthy_step = next((self.history[i - 1]["step"] for i in ends), None)

    def begin(self, state: TrainState) -> None:
        """Probe the initial state. Call before the first step of a run."""
        if record := self.schedule.begin(state):
            self._remember(record)

    def scores(self, step: int) -> bool:
        """Whether a score is computed after `step`."""
        return self.score is not None and step % self.score_every == 0

    def after_step(
        self, step: int, state: TrainState, metrics: Metrics, batch: Batch | None = None, *, at_once: bool = False
    ) -> Verdict | None:
        """Return a verdict once it is known: probes are fetched one step late, or with `at_once` immediately.

        batch: the step's real images.
        """
        self.nonfinite.after_step(step, metrics)
        self.latest_score = None
        if self.scores(step):
            assert self.score is not None
            self.latest_score = self.score(state)
            real = self.real_scores.get("score_of_real")
            logger.info(
                "step %d: score %.4g%s", step, self.latest_score, f" (real {real:.4g})" if real is not None else ""
            )
        scores = {} if self.latest_score is None else {"score": self.latest_score} | self.real_scores
        return self._judge(
            step, state, [self.schedule.after_step(step, state, metrics, scores, batch)], at_once=at_once
        )

    def before_save(self, step: int, state: TrainState) -> Verdict | None:
        """Return a verdict on a step that `after_step` has seen, before it is saved after all."""
        return self._judge(step, state, [], at_once=True)

    def _judge(self, step: int, state: TrainState, found: list[Record | None], *, at_once: bool) -> Verdict | None:
        if at_once:
            self.nonfinite.fetch()
            found.append(self.schedule.flush())
        if (count := self.nonfinite.excess) >= self.nonfinite_limit:
            sentence = f"the updates of {count} steps were not finite: {self.nonfinite.what}"
            return Verdict(step, max(step - count - 1, 0), NONFINITE, count, self.nonfinite_limit, sentence)
        for record in filter(None, found):
            self._remember(record)
            if verdict := evaluate(self.history, self.expected, self.ignored, self._rules):
                return verdict
            if is_healthy(self.history, self._rules):
                self.last_healthy_step = record["step"]
        # A checkpoint never holds such values, though no probe is due.
        probed = bool(self.history) and self.history[-1]["step"] == step
        if at_once and not probed and (names := self.schedule.not_finite(state)):
            before = [record["step"] for record in self.history]
            return not_finite_verdict(step, before[-1] if before else 0, listed(names))
        return None

    def _remember(self, record: Record) -> None:
        self.history.append({name: value for name, value in record.items() if name != "singular"})
