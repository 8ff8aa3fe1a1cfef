"""Supervise a training run: signals, preemption notices, the workdir lock and lost peers."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import jax
from etils import epath

from biggan_jax.runtime import distributed, files, preemption
from biggan_jax.runtime.interrupt import Interrupt
from biggan_jax.runtime.workdir_lock import WorkdirLock


class Job:
    """A supervised training run; `supervised` makes it. All hosts call its methods in the same order.

    locked: whether the run has its workdir.
    should_stop(arrays): whether to save and stop after this step; see Interrupt.should_stop.
    check(): end the run if another run has taken the workdir. Call before each write; it is cheap.
    stops_waiting(): whether to stop now rather than wait for data. False with several hosts, which stop after the same step.
    at_exit(callback): call `callback` when the job ends, while the workdir is still locked; the last one first. Not if a peer is
        lost: a callback that waits for all hosts would hang.
    """

    def __init__(self, workdir: epath.PathLike, interrupt: Interrupt, cleanup: contextlib.ExitStack):
        self._cleanup, self._lock = cleanup, WorkdirLock(workdir, cancelled=lambda: interrupt.requested)
        self.locked = False
        self.should_stop, self.check, self.at_exit = interrupt.should_stop, self._lock.check, cleanup.callback
        self.stops_waiting = lambda: interrupt.requested and jax.process_count() == 1

    def lock_workdir(self) -> bool:
        """Lock the workdir until the job ends. Call once, after everything that can be wrong with a config was checked.

        Returns False if a signal or a preemption notice ended the wait for another run; see WorkdirLock.
        """
        self.locked = self._cleanup.enter_context(self._lock).owned
        return self.locked


@contextlib.contextmanager
def supervised(workdir: epath.PathLike, last_saved: Callable[[], int | None] = lambda: None) -> Iterator[Job]:
    """Supervise the training run in `workdir`, local or gs://. Enter on all hosts, before anything that takes long.

    last_saved: returns the last step saved in `workdir`, or None; messages on Ctrl-C and a full disk name it.
    """
    if jax.process_index():
        logging.getLogger("biggan_jax").setLevel(logging.WARNING)  # Process 0 logs for all.
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt(last_saved))
        stack.enter_context(preemption.watch_notices(interrupt.request))
        cleanup = stack.enter_context(contextlib.ExitStack())
        # Entered last, so run first: an error ends this process before a callback waits for the other hosts.
        stack.push(distributed.exit_without_barrier)
        job = Job(workdir, interrupt, cleanup)
        stack.enter_context(files.disk_faults_explained(workdir, last_saved, began=lambda: job.locked))
        yield job
