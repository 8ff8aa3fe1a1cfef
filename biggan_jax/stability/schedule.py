"""Owns looking at a run every so many rounds, and the record of it. Must not know what the signals mean."""

import functools

import jax
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.data.dataset import Source
from biggan_jax.data.loader import HostBatches
from biggan_jax.gan import GAN
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.metric_writer import MetricWriter
from biggan_jax.stability.signals import Probe, look
from biggan_jax.state import TrainState
from biggan_jax.types import Metrics

FROM_ROUND = ("d_loss", "g_loss", "d_grad_norm", "g_grad_norm")
"""What a record takes over from the metrics of its round."""


LEAST_IMAGES = 64
"""Of each kind in a look: signals of fewer leap about."""


class ProbeSchedule:
    """Looks at the start, and then every `every` rounds (0: never); what a look found is fetched one round late, so that the device
    never waits.

    images: as `probe.look` wants them. writer: where records go, or None on all hosts but the first.
    """

    def __init__(self, gan: GAN, every: int, images: dict, writer: MetricWriter | None):
        self.every, self._images, self._writer = every, images, writer
        self._look = jax.jit(functools.partial(look, gan), out_shardings=gan.mesh and sharding.replicated(gan.mesh))
        self._pending: tuple[int, Probe, dict[str, jax.Array | float]] | None = None

    def begin(self, state: TrainState) -> Record | None:
        """The look at a run before its first round, to compare later ones with."""
        if not self.every:
            return None
        self._pending = int(state.step), self._looked(state), {}
        return self.flush()

    def after_step(self, step: int, state: TrainState, metrics: Metrics, score: float | None = None) -> Record | None:
        """The record of the look before this one's, once it is known. A round with a score is always looked at."""
        record = self.flush()
        if score is not None or (self.every and step % self.every == 0):
            found = self._looked(state)
            from_round = {name: metrics[name] for name in FROM_ROUND} | ({} if score is None else {"score": score})
            self._pending = step, found, from_round
        return record

    def _looked(self, state: TrainState) -> Probe:
        if jax.default_backend() != "cpu":
            return self._look(state, self._images)
        # Neither the round before nor the one after waits for it: some of a CPU's devices would meet in one, some in the other.
        return jax.block_until_ready(self._look(jax.block_until_ready(state), self._images))

    def flush(self) -> Record | None:
        if self._pending is None:
            return None
        (step, (signals, singular), metrics), self._pending = jax.device_get(self._pending), None
        record = {
            "step": int(step),
            "signals": {name: float(value) for name, value in (signals | metrics).items()},
            "singular": jax.tree.map(lambda values: [float(v) for v in values], singular),
        }
        if self._writer:
            self._writer.look(record)
        return record


def images_for_probes(
    sources: dict[str, Source], seed: int, batch_size: int, mesh: Mesh, host: tuple[int, int]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """The images of all looks of a run, the same in each: `batch_size` of every source, but LEAST_IMAGES, split over the mesh."""
    batch_size = max(batch_size, sharding.divisible(LEAST_IMAGES, mesh))
    return {name: _images(source, seed, batch_size, mesh, host) for name, source in sources.items()}


def _images(source: Source, seed: int, batch_size: int, mesh: Mesh, host: tuple[int, int]):
    make = HostBatches(source, seed, 0, 1, batch_size, flip=False, crop="center", host=host[0], hosts=host[1])
    batch, _ = make(0)
    placed = sharding.shard_batch(batch, mesh)
    return placed["image"][0], placed["label"][0]
