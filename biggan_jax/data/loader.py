"""Each step's batch as a pure function of the step, read ahead of the devices by Grain.

Resuming starts at another step: no state of the data is stored. Grain calls the function in threads or worker processes.
"""

import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import flags

from biggan_jax.data import captions, shuffle
from biggan_jax.data.ahead import Ahead
from biggan_jax.data.balance import ByClass
from biggan_jax.data.dataset import Source
from biggan_jax.data.domains import Two
from biggan_jax.growth import Growth, reduced
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

AHEAD = 2  # Batches kept ready on the devices, and as many again on the host.


@dataclasses.dataclass(frozen=True)
class HostBatches:
    """The function from a step to this host's part of its real data.

    batch_size: over all hosts. crop: center, or random along the longer edge. order: see `shuffle.indices`. classes: draw them
    evenly; None: draw each image once an epoch. growth: the size of batches and images by step; batch_size is then not used.
    domains: read images of two domains, as it says; None: of one. captions: how many of an image's conditions are drawn; 0: labels
    stay as they are.
    """

    source: Source
    seed: int
    attempt: int
    minibatches: int
    batch_size: int
    flip: bool
    crop: str
    host: int = 0
    hosts: int = 1
    order: str = "feistel"
    classes: ByClass | None = None
    growth: Growth | None = None
    domains: Two | None = None
    captions: int = 0

    def __call__(self, step: int) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return the batch, and a sentence for each unreadable record. The global batch does not depend on the number of hosts.

        image: uint8 or uint16 [minibatches, B / hosts, H, W, C], or float32 [minibatches, B / hosts, n]; label: int32
        [minibatches, B / hosts], or float32 [minibatches, B / hosts, k]; with `captions` of either type, [minibatches, B / hosts,
        captions, k]. With `domains` also other: as image, of B.
        """
        batch_size, seen, factor = self.batch_size, int(step) * self.batch_size, 1
        if grown := self.growth:
            batch_size, seen = grown.batch_sizes[grown.stage_at(step)], grown.images_at(int(step))
            factor = grown.factor_at(step)
        count, size = self.minibatches * batch_size, batch_size // self.hosts
        positions = self.minibatches * seen + np.arange(count).reshape(self.minibatches, batch_size)
        positions = positions[:, self.host * size : (self.host + 1) * size].ravel()
        draw = self.seed, self.attempt, positions
        if self.domains:
            arrays, unreadable = self.domains.read(self.source, *draw)
            return {name: x.reshape(self.minibatches, size, *x.shape[1:]) for name, x in arrays.items()}, unreadable
        offsets = shuffle.crop_offset(*draw) if self.crop == "random" else np.full(len(positions), 0.5)
        order = self.classes.indices if self.classes else functools.partial(shuffle.indices, len(self.source))
        images, labels, unreadable = self.source.read(order(*draw, self.order), offsets)
        if self.flip:
            flipped = shuffle.flip(*draw)
            images[flipped] = images[flipped][..., ::-1, :]
        if self.captions:
            labels = captions.choose(labels, self.captions, *draw)
        images = reduced(images, factor)
        shape = self.minibatches, size
        return {
            "image": images.reshape(*shape, *images.shape[1:]),
            "label": labels.reshape(*shape, *labels.shape[1:]),
        }, unreadable


@contextlib.contextmanager
def read_ahead(
    make: HostBatches,
    place: Callable[[dict[str, np.ndarray]], Any],
    start: int,
    stop: int,
    *,
    workers: int,
    limit: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Iterator[Any]]:
    """Iterate over the batches of steps start ... stop - 1, prepared ahead of time.

    place: copies a batch to the devices. workers: processes that read; 0 reads in threads of this one. cancelled: whether to
    end early rather than wait for data; see Ahead. Raises UserError if more than `limit` records are unreadable, or a worker was
    killed.
    """
    grain = shuffle.import_grain()
    reading = grain.ReadOptions(num_threads=1 if workers else AHEAD, prefetch_buffer_size=AHEAD)
    batches = grain.MapDataset.range(start, stop).map(make).to_iter_dataset(reading)
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain reads flags of its own; in a notebook they are not parsed yet.
            flags.FLAGS.mark_as_parsed()
        # Python passes this on to its resource tracker, which would warn of shared memory if the command is killed.
        sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
        batches = batches.mp_prefetch(options, worker_init_fn=init_worker)
    batches = batches.map(lambda made: (place(made[0]), made[1]))
    ahead = Ahead(iter(batches), AHEAD, cancelled)
    try:
        yield _checked(ahead, limit)
    finally:
        ahead.close()


def _checked(batches: Iterator[tuple[Any, tuple[str, ...]]], limit: int) -> Iterator[Any]:
    """Log each unreadable record once, and raise the errors of `read_ahead`."""
    seen: set[str] = set()
    try:
        for batch, unreadable in batches:
            for what in set(unreadable) - seen:
                seen.add(what)
                logger.warning("cannot read %s; the next record replaces it", what)
            if len(seen) > limit:
                more = f"{len(seen)} records cannot be read, more than data.unreadable_limit={limit}"
                raise UserError(f"{more}; one is {min(seen)}")
            yield batch
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        hint = "rerun to resume, with fewer --config.data.workers if it recurs"
        raise UserError(f"a data worker was killed, probably for lack of memory; {hint}") from error


def init_worker(*_) -> None:
    """Leave Ctrl-C and SIGTERM to the main process, which still saves and needs its workers, and exit when it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def exit_with_parent() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]  # Each worker has a parent.
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
