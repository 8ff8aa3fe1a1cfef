"""Owns the batches of a run, read ahead of the device. Must not know networks.

The data of a round is a pure function of its step, so a run that goes on just starts at another one: nothing about data is
stored but the step. Grain calls that function ahead of time, in threads or in worker processes.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import flags
from absl import logging as absl_logging

from biggan_jax.data import shuffle, worker
from biggan_jax.data.dataset import Source
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

AHEAD = 2
"""Rounds that lie ready on the device, and as many again on the host."""


@dataclasses.dataclass(frozen=True)
class HostBatches:
    """The function from a step to this host's part of its real data; see `Source` for what it reads.

    batch_size is global: this host reads batch_size / hosts of each. crop is center, or random along the long edge.
    """

    source: Source
    seed: int
    attempt: int
    d_steps: int
    batch_size: int
    flip: bool
    crop: str
    host: int = 0
    hosts: int = 1

    def __call__(self, step: int) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """image uint8 [d_steps, B / hosts, H, W, 3] and label int32 [d_steps, B / hosts], and what could not be read.

        The global batch is the same on any number of hosts.
        """
        count = self.d_steps * self.batch_size
        position = self.seed, self.attempt, int(step) * count, count
        size = self.batch_size // self.hosts
        part = slice(self.host * size, (self.host + 1) * size)
        mine = lambda x: x.reshape(self.d_steps, self.batch_size)[:, part].ravel()
        across = mine(shuffle.across(*position)) if self.crop == "random" else np.full(self.d_steps * size, 0.5)
        images, labels, unreadable = self.source.read(mine(shuffle.indices(len(self.source), *position)), across)
        if self.flip:
            flipped = mine(shuffle.mirrored(*position))
            images[flipped] = images[flipped][:, :, ::-1]
        shape = self.d_steps, size
        return {"image": images.reshape(*shape, *images.shape[1:]), "label": labels.reshape(shape)}, unreadable


@contextlib.contextmanager
def read_ahead(
    make: HostBatches, place: Callable[[dict[str, np.ndarray]], Any], start: int, stop: int, *, workers: int, limit: int
) -> Iterator[Iterator[Any]]:
    """The batches of rounds start ... stop - 1, each handed to `place`, which brings it to the devices, ahead of its turn.

    workers: processes besides this one; 0: threads of this one. More than `limit` unreadable records raise UserError.
    """
    grain = _grain()
    rounds = grain.MapDataset.range(start, stop).map(make)
    rounds = rounds.to_iter_dataset(grain.ReadOptions(num_threads=1 if workers else AHEAD, prefetch_buffer_size=AHEAD))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain asks for flags of its own, which in a notebook nobody has parsed.
            flags.FLAGS.mark_as_parsed()
        worker.tidy_silently()
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
        rounds = rounds.mp_prefetch(options, worker_init_fn=worker.begin)
    rounds = rounds.map(lambda round_: (place(round_[0]), round_[1]))
    ahead = iter(grain.experimental.ThreadPrefetchIterDataset(rounds, prefetch_buffer_size=AHEAD))
    try:
        yield _watched(ahead, limit)
    finally:
        ahead.close()


def _grain() -> Any:
    """Grain, without the warning of its import, where jax is older than 0.11, that workers cannot be profiled."""
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        import grain
    finally:
        absl_logging.set_verbosity(verbosity)
    return grain


def _watched(rounds: Iterator[tuple[Any, tuple[str, ...]]], limit: int) -> Iterator[Any]:
    seen: set[str] = set()
    for batch, unreadable in _told(rounds):
        for what in set(unreadable) - seen:
            seen.add(what)
            logger.warning("cannot read %s; the record after it stands in", what)
        if len(seen) > limit:
            raise UserError(
                f"{len(seen)} records cannot be read, more than data.unreadable_limit={limit}; one is {min(seen)}"
            )
        yield batch


def _told(rounds: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from rounds
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise UserError(
            "a worker that reads data was killed, most likely for want of memory; the same command goes on from the last "
            "checkpoint, with fewer --config.data.workers if it happens again"
        ) from error
