"""Supervise a training run: signals, preemption notices, the workdir lock and lost peers."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
from etils import epath

from biggan_jax.runtime import distributed, preemption
from biggan_jax.runtime.interrupt import Interrupt
from biggan_jax.runtime.workdir_lock import WorkdirLock


class Job:
    """A supervised training run; `supervised` makes it. All hosts call its methods in the same order."""

    def __init__(self, workdir: epath.PathLike, interrupt: Interrupt, cleanup: contextlib.ExitStack):
        self._interrupt, self._cleanup = interrupt, cleanup
        self._lock = WorkdirLock(workdir, cancelled=lambda: interrupt.requested)
        self.owned = False

    def lock_workdir(self) -> bool:
        """Make the workdir and lock it until the job ends. Call once, after everything that can be wrong with a config was checked.

        Returns:
            `owned`: False if a signal or a preemption notice ended the wait for another run.

        Raises:
            UserError: another run uses the workdir, or the workdir cannot be used.
        """
        self.owned = self._cleanup.enter_context(self._lock).owned
        return self.owned

    def at_exit(self, callback: Callable[[], Any]) -> None:
        """Call `callback` when the job ends, while the workdir is still locked.

        Callbacks run in reverse order. They do not run if a peer is lost: a callback that waits for all hosts would hang.
        """
        self._cleanup.callback(callback)

    def check(self) -> None:
        """End the run if another run has taken the workdir. Call before each write; it is cheap."""
        self._lock.check()

    def should_stop(self, so_far: Any = None) -> bool:
        """Whether to save and stop after this step: the same answer on all hosts.

        Call once before the first step and once after each step.

        Args:
            so_far: the arrays dispatched so far. They are awaited before hosts communicate.
        """
        return self._interrupt.should_stop(so_far)


@contextlib.contextmanager
def supervised(
    workdir: epath.PathLike,
    last_saved: Callable[[], int | None] = lambda: None,
    explain_errors: AbstractContextManager[Any] | None = None,
) -> Iterator[Job]:
    """Supervise the training run in `workdir`. Enter on all hosts, before anything that takes long.

        with supervised(workdir, last_saved, full_disk.explained(workdir)) as job:
            ...  # Check config, data and devices.
            if not job.lock_workdir():
                return
            job.at_exit(checkpoints.close)
            stopping = job.should_stop()
            while step < num_steps and not stopping:
                ...  # Train.
                stopping = job.should_stop((state, metrics))
                job.check()
                ...  # Save.

    Args:
        workdir: folder of the run, local or gs://.
        last_saved: returns the last step saved in `workdir`, or None; a message on Ctrl-C names it.
        explain_errors: a context manager around the job that turns errors into UserErrors.
    """
    if jax.process_index():
        logging.getLogger("biggan_jax").setLevel(logging.WARNING)  # Process 0 logs for all.
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt(last_saved))
        stack.enter_context(preemption.watch_notices(interrupt.request))
        cleanup = stack.enter_context(contextlib.ExitStack())
        # Entered last, so run first: an error ends this process before a callback waits for the other hosts.
        stack.push(distributed.exit_without_barrier)
        stack.enter_context(explain_errors or contextlib.nullcontext())
        yield Job(workdir, interrupt, cleanup)
