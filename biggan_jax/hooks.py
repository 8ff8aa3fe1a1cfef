"""Owns what happens beside training every so many steps: metrics, sample grids, traces. Reads the state, never changes it."""

import jax

from biggan_jax.gan import GAN
from biggan_jax.runtime import memory
from biggan_jax.runtime.metric_writer import MetricWriter
from biggan_jax.runtime.progress import ProgressLine
from biggan_jax.sampling import generate, pictures, statistics
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics


class MetricLogger:
    """Writes metrics every so many steps, and of a last one, fetched one step late, so that the device never waits for the host."""

    def __init__(self, every: int, writer: MetricWriter | None, progress: ProgressLine):
        self._every, self._writer, self._progress = every, writer, progress
        self._pending: tuple[int, Metrics] | None = None

    def after_step(self, step: int, metrics: Metrics, *, last: bool = False) -> None:
        self.flush()
        self._progress.step(step)
        if last or step % self._every == 0:
            self._pending = step, metrics

    def flush(self) -> None:
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        scalars = {name: float(value) for name, value in metrics.items() if not name.endswith("_faults")}
        values = self._progress.metrics(step, scalars) | memory.usage()
        if self._writer:
            self._writer.scalars(step, values)


def write_samples(gan: GAN, state: TrainState, step: int, writer: MetricWriter | None, columns: int = 8) -> None:
    """Two grids of the same latents, a row a class: by the live weights and by their average."""
    classes = pictures.rows_of_classes(gan.num_classes)
    y = classes.repeat(columns)
    z = generate.draw_latents(gan, jax.random.key(0), len(y))
    for name, params in (("live", state.generator.params), ("ema", state.ema_params)):
        weights = generate.evaluation_weights(gan, params, state.generator.stats["spectral"])
        moments = statistics.standing_statistics(gan, weights, seed=0, passes=16)
        images = generate.generate(gan, weights, moments, z, y, batch_size=len(z))
        if writer:
            writer.picture(step, name, pictures.grid(pictures.to_uint8(images), columns))


class Profiler:
    """Writes a jax.profiler trace of the rounds in `steps` to `folder`."""

    def __init__(self, steps: range, folder: str):
        self._steps, self._folder, self._on = steps, folder, False

    def before_step(self, step: int) -> None:
        if not self._on and step in self._steps:
            jax.profiler.start_trace(self._folder)
            self._on = True

    def after_step(self, step: int, metrics: Metrics) -> None:
        if self._on and step not in self._steps:
            jax.block_until_ready(metrics)
            self.stop()

    def stop(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
