"""What happens around training steps: metrics, probes, checkpoints, samples, profiles."""

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

import jax
import ml_collections
import numpy as np
from clu import parameter_overview
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.checkpoint.resume import Weights
from biggan_jax.data import domains
from biggan_jax.data.captions import first_captions
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.evaluator import score_in_training
from biggan_jax.family import Family
from biggan_jax.models.translation import Translation
from biggan_jax.runtime import distributed, jsonl
from biggan_jax.runtime.lazy_metrics import LazyMetrics, scalars
from biggan_jax.runtime.metric_writer import PROBES, MetricWriter
from biggan_jax.runtime.progress import ProgressLine
from biggan_jax.runtime.supervised import Job
from biggan_jax.sampling import generate, pictures, translations
from biggan_jax.stability import recovery
from biggan_jax.stability.history import is_probe
from biggan_jax.stability.monitor import CollapseMonitor, NonFinite, ProbeSchedule, images_for_probes
from biggan_jax.stability.rules import Verdict, rules_of
from biggan_jax.state import TrainState
from biggan_jax.types import Batch, Metrics, UserError

logger = logging.getLogger(__name__)

COLUMNS = 8  # Of a grid of samples.


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What all attempts of a training run share. weights: loads config.init_from, if set. data: the digest of the data set."""

    config: ml_collections.ConfigDict
    workdir: epath.Path
    mesh: jax.sharding.Mesh
    source: Source
    weights: Callable[[], Weights | None]
    checkpoints: Checkpoints
    job: Job
    data: str = ""


@dataclasses.dataclass
class Hooks:
    """The hooks of one attempt. They read the state and never change it. All processes call them; only process 0 has a writer."""

    run: RunContext
    gan: Family
    attempt: int
    writer: "MetricWriter | None"
    metrics: "MetricLogger"
    monitor: CollapseMonitor
    profiling: bool = False

    def before_step(self, step: int) -> None:
        if not self.profiling and step in configs.profile_range(self.run.config):
            jax.profiler.start_trace(str(self.run.workdir / "profile"))
            self.profiling = True

    def log(self, step: int, metrics: Metrics) -> None:
        if step not in configs.profile_range(self.run.config):
            self.stop_profile(metrics)
        self.run.job.check()
        self.metrics.after_step(step, metrics, last=step == self.run.config.num_steps)

    def after_step(
        self, step: int, state: TrainState, metrics: Metrics, batch: Batch, *, stopping: bool
    ) -> jsonl.Record | None:
        """Probe, save and draw samples where they are due. Return the event that ends the attempt, if the run collapsed.

        batch: the step's real images and labels.
        """
        config, monitor = self.run.config, self.monitor
        last = step == config.num_steps
        saving = stopping or last or step % config.checkpoint_every == 0
        sampling = bool(config.sample_every) and (last or (step % config.sample_every == 0 and not stopping))
        with self.metrics.paused(metrics) if monitor.scores(step) else contextlib.nullcontext():
            verdict = monitor.after_step(step, state, metrics, batch, at_once=saving)
        if event := self._handle(verdict, state, step):
            return event
        self.run.job.check()
        if not (saving or sampling):
            return None
        if saving:
            self.metrics.flush()  # Flush first: a crash right after saving would lose this step's metrics.
        with self.metrics.paused(metrics):
            if saving:
                self._save(state)
            if sampling:
                self.write_samples(state, step)
        return None

    def save_unless_saved(self, step: int, state: TrainState, metrics: Metrics) -> jsonl.Record | None:
        """Save a step that `after_step` has seen, since the run stops now. Return the event if it has collapsed."""
        if event := self._handle(self.monitor.before_save(step, state), state, step):
            return event
        self.run.job.check()
        self.metrics.flush()
        with self.metrics.paused(metrics):
            self._save(state)
        return None

    def _handle(self, verdict: Verdict | None, state: TrainState, step: int) -> jsonl.Record | None:
        """Record a verdict, and return the event that ends the attempt, if it does."""
        if verdict is None:
            return None
        config, write = self.run.config, jax.process_index() == 0
        event = recovery.handle(verdict, self.attempt, config, self.run.checkpoints, self.run.workdir, write=write)
        if event["action"] == "ignored":
            self.monitor.ignored.add(verdict.signal)
            return None
        if config.sample_every:  # Show what the collapse looks like.
            self.write_samples(state, step)
        return event

    def _save(self, state: TrainState) -> None:
        # The config of the run, not of the attempt: a resume compares it with the user's.
        score, healthy = self.monitor.latest_score, self.monitor.last_healthy_step
        run = self.run
        run.checkpoints.save(state, run.config, score=score, last_healthy_step=healthy, data=run.data)

    def write_samples(self, state: TrainState, step: int) -> None:
        """Write two grids of the same latents, one row per class: from the live weights and from their average.

        Of a model that translates, rows are images and what becomes of them; see `Translation.columns`. Of clips, rows are clips.
        Ten conditions of the training data take the place of classes if they are real numbers or captions. Images that are
        neither grey nor RGB are not drawn.
        """
        gan, source, network = self.gan.after(step), self.run.source, state.networks[self.gan.sampled]
        if not drawable(gan):
            return
        if isinstance(gan, Translation):
            a, b = self.pairs
            for name, sheet in translations.sheets(gan, state, a, b).items():
                if self.writer:
                    self.writer.picture(step, name, sheet)
            return
        rows = pictures.rows_of_classes(gan.num_classes)
        if gan.condition.of_data:
            numbers = np.linspace(0, len(source) - 1, 10).astype(np.int64)
            rows = first_captions(source.read(numbers, np.full(len(numbers), 0.5)).labels)
        y = rows.repeat(COLUMNS, axis=0)
        z = generate.draw_latents(gan, jax.random.key(0), len(y))
        average = {"ema": state.averages[gan.sampled]} if gan.sampled in state.averages else {}
        for name, params in ({"live": network.params} | average).items():
            weights = generate.evaluation_weights(gan, params, network.spectral)
            variables = gan.with_lent(network.variables, state.networks)
            variables = generate.variables_for_sampling(gan, weights, variables, seed=0, passes=16)
            images = generate.generate(gan, weights, variables, z, y, batch_size=len(z))
            if not np.isfinite(images).all():  # As pictures they would be black.
                logger.warning("step %d: samples of the %s weights are not finite: no picture", step, name)
            elif self.writer:
                self.writer.picture(step, name, pictures.sheet(pictures.to_uint8(images), COLUMNS, gan.frames))

    @functools.cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Images of the two domains for sheets: of the held-out split, or of the training data."""
        config, source = self.run.config, self.run.source
        with contextlib.suppress(UserError):
            source = data.make_source(config, "test")
        two = domains.of(source, config)
        assert two is not None
        found, _ = two.unchanged().read(source, config.seed, 0, np.arange(COLUMNS))
        return found["image"], found["other"]

    def stop_profile(self, metrics: Metrics | None = None) -> None:
        if self.profiling:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            self.profiling = False


@contextlib.contextmanager
def of_attempt(run: RunContext, gan: Family, state: TrainState, attempt: int) -> Iterator[Hooks]:
    """Make the hooks of an attempt that starts from `state`; close them on exit."""
    config, start, writes = run.config, int(state.step), jax.process_index() == 0
    with contextlib.ExitStack() as cleanup:
        if config.sample_every and not drawable(gan):
            logger.info("samples %s are not drawn: biggan-sample --out=FILE.npz writes them", list(gan.image_shape))
        writer = None
        if writes:
            writer = MetricWriter(run.workdir, start=start, attempt=attempt, config=config.to_dict())
            cleanup.callback(writer.close)
        images = lambda steps: gan.minibatches * gan.after(steps).batch_shape(config.batch_size)[0]
        progress = ProgressLine(start, config.num_steps, images, shown=writes)
        cleanup.callback(progress.close)
        metrics = MetricLogger(config.log_every, writer, progress, gan.periods)
        monitor = make_monitor(run, gan, state, writer)
        # Probe the initial state only if the run reaches a probe to compare it with.
        if not start and config.stability.every <= config.num_steps:
            monitor.begin(state)
        hooks = Hooks(run, gan, attempt, writer, metrics, monitor)
        cleanup.callback(hooks.stop_profile)
        yield hooks


class MetricLogger:
    """Write metrics every `every` steps and after the last, fetched one step late: the device never waits for the host.

    periods: see Family. The metrics of a lazy update are written in the next line, once.
    """

    def __init__(self, every: int, writer: MetricWriter | None, progress: ProgressLine, periods: Iterable[int] = ()):
        self._every, self._writer, self._progress, self._lazy = every, writer, progress, LazyMetrics(periods)
        self._pending: tuple[int, Metrics, list[Metrics]] | None = None

    def after_step(self, step: int, metrics: Metrics, *, last: bool = False) -> None:
        self.flush()
        self._progress.step(step)
        self._lazy.after_step(step, metrics)
        if last or step % self._every == 0:
            self._pending = step, metrics, self._lazy.take()

    @contextlib.contextmanager
    def paused(self, metrics: Metrics) -> Iterator[None]:
        """Leave the time within out of the speed."""
        jax.block_until_ready(metrics)  # The time of the steps before counts.
        with self._progress.paused():
            yield

    def flush(self) -> None:
        if self._pending is None:
            return
        (step, metrics, lazy), self._pending = self._pending, None
        values = self._progress.metrics(step, scalars(metrics, lazy)) | memory_usage()
        if self._writer:
            self._writer.scalars(step, values)


def memory_usage() -> dict[str, float]:
    """Return {host_gb, device_gb} in 10^9 bytes: resident memory (on Linux) and memory in use on the first local device."""
    statm, found = pathlib.Path("/proc/self/statm"), {}
    if statm.exists():
        found["host_gb"] = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    # CPU devices report no statistics: count all live arrays.
    stats = jax.local_devices()[0].memory_stats()
    in_use = stats["bytes_in_use"] if stats else sum(array.nbytes for array in jax.live_arrays())
    return found | {"device_gb": in_use / 1e9}


def drawable(gan: Family) -> bool:
    """Return whether samples can be drawn as a picture: grey or RGB."""
    shapes = gan.data_shapes(1).values()
    return all(len(shape) == 4 and shape[-1] in (1, 3) for shape in shapes)


def make_monitor(run: RunContext, gan: Family, state: TrainState, writer: MetricWriter | None) -> CollapseMonitor:
    """Make the collapse monitor of an attempt that starts from `state`, with the records of all probes before."""
    config, start = run.config, int(state.step)
    images, sources = {}, dict[str, Source]()
    if config.stability.every or config.score.every:
        sources["real"] = run.source
        with contextlib.suppress(UserError):  # Not every data set holds images out.
            sources["held_out"] = data.make_source(config, "test")
        size, host = config.batch_size // config.microbatches, (jax.process_index(), jax.process_count())
        images = images_for_probes(
            sources, config.seed, size, run.mesh, host, lambda source: domains.of(source, config)
        )
    score, real_scores = _score(run, gan, sources.get("held_out"))
    return CollapseMonitor(
        ProbeSchedule(gan, config.stability.every, images, writer, gan.periods),
        NonFinite(min(config.log_every, config.stability.nonfinite_limit), gan, state),
        config.stability.nonfinite_limit,
        score,
        config.score.every,
        configs.expected_scores(config),
        jsonl.current_lineage(jsonl.read(run.workdir, PROBES, is_probe), start) if start else [],
        recovery.ignored(run.workdir),
        rules_of(gan.image_shape, fine_tuned=bool(config.init_from)),
        real_scores,
    )


def _score(
    run: RunContext, gan: Family, held_out: Source | None
) -> tuple[Callable[[TrainState], float] | None, dict[str, float]]:
    """Return the function that scores a state, None without scores, and the scores of real images to record beside it."""
    c = run.config.score
    if not c.every:
        return None, {}
    options = {"network": c.network, "inception": c.inception, "num": c.num, "seed": run.config.seed}
    options["also"] = c.also
    score = score_in_training(run.source, run.mesh, held_out=held_out, **options)
    if (distance := score.real.get("score_of_real")) is not None:
        accuracy = score.real.get("score_accuracy")
        known = "" if accuracy is None else f"; accuracy of {c.network}: {accuracy:.3g}"
        logger.info("score of real images: %.4g (%s%s)", distance, score.images, known)
    # Rounding may differ between hosts, and all must reach the same verdict.
    agreed = lambda value: distributed.broadcast(np.asarray(value, np.float32).view(np.int32)).view(np.float32)
    return lambda state: float(agreed(score(gan.after(int(state.step)), state))), score.beside


def log_setup(gan: Family, state: TrainState, mesh: jax.sharding.Mesh) -> None:
    """Log the size of the networks, what is not trained, and the devices."""
    for name, network in sorted(state.networks.items(), reverse=True):
        logger.info("%s: %s parameters", name, f"{int(parameter_overview.count_parameters(network.params)):,}")
        if frozen := gan.networks[name].frozen:
            logger.info("%s: not trained: %s", name, ", ".join(frozen))
    platform = jax.devices()[0].platform
    sizes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    logger.info("%d %s device(s), mesh %s; the first step compiles", jax.device_count(), platform, sizes)
    if platform == "gpu" and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
        logger.info("a resumed run is bitwise identical only with XLA_FLAGS=--xla_gpu_deterministic_ops=true")
