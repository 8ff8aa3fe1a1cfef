"""Graceful shutdown: signal handling, and agreement between hosts on the final step.

A cluster manager's SIGTERM may reach some hosts only, and a preemption notice one: all hosts stop after the same step. JAX's
`reached_preemption_sync_point` chooses that step without a collective, but only SIGTERM triggers it, not Ctrl-C or a notice.
"""

import contextlib
import logging
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from biggan_jax.runtime import cli

logger = logging.getLogger(__name__)

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # The last one comes when a terminal is closed.
DEBOUNCE_SECONDS = 0.1  # For duplicate SIGINTs: a terminal and a wrapper may both send the one of a Ctrl-C.


class Interrupt:
    """While entered, Ctrl-C, SIGTERM and SIGHUP request a stop after the current step.

    A second Ctrl-C ends a command at once; in a notebook it raises KeyboardInterrupt. A second SIGTERM, which some cluster
    managers send, changes nothing. `requested`: whether this host wants to stop. `now`: the clock.

    last_saved: returns the last saved step or None, for the message of a second Ctrl-C.
    """

    AGREE_EVERY, AGREE_WITHIN = 10, 3.0  # Steps, and approximate seconds, between two exchanges of several hosts.
    now = staticmethod(time.monotonic)

    def __init__(self, last_saved: Callable[[], int | None] = lambda: None) -> None:
        self._last_saved, self.requested, self._training = last_saved, False, False
        self._first_sigint: float | None = None
        self._sigints = 0
        self._steps, self._next_exchange, self._last_exchange = 0, 0, (0, self.now())

    def __enter__(self) -> "Interrupt":
        self._former = None
        if threading.current_thread() is not threading.main_thread():  # Only the main thread may have signal handlers.
            return self
        # A Python handler runs between two bytecodes: not during a compilation, which takes minutes. The wakeup
        # socket receives the number of a signal at once, and a thread reads it.
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        heard = [n for n in SIGNALS if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]  # By nohup.
        self._former = {number: signal.signal(number, self._handle) for number in heard}
        self._former_wakeup = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_) -> None:
        if self._former is None:
            return
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._sender.close()
        self._listener.join()
        self._receiver.close()

    def request(self, reason: str) -> None:
        """Request a stop after the current step, from any thread."""
        self.requested = True
        logger.warning("%s: %s", reason, "saving after this step" if self._training else "ending before the first step")

    def should_stop(self, so_far: Any = None) -> bool:
        """Whether to save and stop after this step: the same answer on all hosts.

        Call once before the first step, and once after each step, with the arrays dispatched so far.
        """
        self._training = True
        if jax.process_count() == 1:
            return self.requested
        step, self._steps = self._steps, self._steps + 1
        if step < self._next_exchange:
            return False
        jax.block_until_ready(so_far)  # On CPU, computations and collectives would run concurrently, and hang.
        now, (last_step, last_time) = self.now(), self._last_exchange
        self._last_exchange = step, now
        steps = int(self.AGREE_WITHIN * (step - last_step) / max(now - last_time, 1e-9))
        mine = np.array([self.requested, np.clip(steps, 1, self.AGREE_EVERY)], np.int32)
        everyone = multihost_utils.process_allgather(mine)
        self._next_exchange = step + int(everyone[:, 1].min())
        return bool(everyone[:, 0].any())

    def _handle(self, number: int, frame) -> None:
        self.requested = True
        self._sigints += number == signal.SIGINT
        if self._sigints > 1 and not cli.is_command:
            raise KeyboardInterrupt

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while numbers := self._receiver.recv(64):
                for number in numbers:
                    if number in SIGNALS:
                        self._on_signal(signal.Signals(number))

    def _on_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            _leave_terminal()
        if number is not signal.SIGINT or not cli.is_command:
            return self.request(number.name)
        now = self.now()
        if self._first_sigint is None:
            self._first_sigint = now
            return self.request("SIGINT (once more ends at once)")
        if now - self._first_sigint > DEBOUNCE_SECONDS:
            cli.end_at_once(f"ended at once, without saving; {self._how_to_resume()}", cli.RUN_AGAIN)

    def _how_to_resume(self, timeout: float = 2) -> str:
        steps = []
        thread = threading.Thread(target=lambda: steps.append(self._last_saved()), daemon=True)
        thread.start()
        thread.join(timeout)  # An object store may take longer, or fail.
        if not steps:
            return "rerun the same command to resume from the last checkpoint"
        if steps == [None]:
            return "nothing was saved yet; rerun the same command to start again"
        return f"rerun the same command to resume from step {steps[0]}"


def _leave_terminal() -> None:
    """Drop what is printed from now on, if the terminal is gone: printing would fail, and end the run unsaved."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):  # isatty denies a terminal that is gone.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)
