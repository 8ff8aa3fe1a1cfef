"""Probe a run every so many steps and record the results."""

import functools

import jax
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.data.dataset import Source
from biggan_jax.data.loader import HostBatches
from biggan_jax.family import Family
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.metric_writer import MetricWriter
from biggan_jax.stability.signals import Probe, probe
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

STEP_METRICS = ("_loss", "_grad_norm")
"""Endings of the step's metrics that a probe's record repeats."""


MIN_IMAGES = 64
"""Minimum images per probe and source; fewer are too noisy."""


class ProbeSchedule:
    """Probe the initial state, then every `every` steps (0: never).

    Results are fetched one step late, so that the device never waits.

    images: the images of signals.probe. writer: receives the records; None except in process 0.
    """

    def __init__(self, gan: Family, every: int, images: dict, writer: MetricWriter | None):
        self.every, self._images, self._writer = every, images, writer
        self._probe = jax.jit(functools.partial(probe, gan), out_shardings=gan.mesh and sharding.replicated(gan.mesh))
        self._pending: tuple[int, Probe, dict[str, jax.Array | float]] | None = None

    def begin(self, state: TrainState) -> Record | None:
        """Probe the initial state, to compare later probes with."""
        if not self.every:
            return None
        self._pending = int(state.step), self._run(state), {}
        return self.flush()

    def after_step(self, step: int, state: TrainState, metrics: Metrics, score: float | None = None) -> Record | None:
        """Probe the step if it is due or has a score. Return the record of the previous probe, once."""
        record = self.flush()
        if score is not None or (self.every and step % self.every == 0):
            found = self._run(state)
            repeated: dict[str, jax.Array | float] = {
                name: value for name, value in metrics.items() if name.endswith(STEP_METRICS)
            }
            repeated |= {} if score is None else {"score": score}
            self._pending = step, found, repeated
        return record

    def _run(self, state: TrainState) -> Probe:
        if jax.default_backend() != "cpu":
            return self._probe(state, self._images)
        # Wait before and after: on CPU, the collectives of a concurrent training step would deadlock with those of the probe.
        return jax.block_until_ready(self._probe(jax.block_until_ready(state), self._images))

    def flush(self) -> Record | None:
        """Fetch, write and return the record of the pending probe, if any."""
        if self._pending is None:
            return None
        (step, (signals, singular), metrics), self._pending = jax.device_get(self._pending), None
        record = {
            "step": int(step),
            "signals": {name: float(value) for name, value in (signals | metrics).items()},
            "singular": jax.tree.map(lambda values: [float(v) for v in values], singular),
        }
        if self._writer:
            self._writer.write_probe(record)
        return record


def images_for_probes(
    sources: dict[str, Source], seed: int, batch_size: int, mesh: Mesh, host: tuple[int, int]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Return the images of all probes of a run: `batch_size` from each source, at least MIN_IMAGES, sharded over the mesh."""
    batch_size = max(batch_size, sharding.divisible(MIN_IMAGES, mesh))
    return {name: _images(source, seed, batch_size, mesh, host) for name, source in sources.items()}


def _images(source: Source, seed: int, batch_size: int, mesh: Mesh, host: tuple[int, int]):
    make = HostBatches(source, seed, 0, 1, batch_size, flip=False, crop="center", host=host[0], hosts=host[1])
    batch, _ = make(0)
    placed = sharding.shard_batch(batch, mesh)
    return placed["image"][0], placed["label"][0]
