"""Owns the wish to stop: signals, or whoever else wants it, and the hosts' agreement on the step after which.

It must not know what is stopped. A cluster manager's SIGTERM reaches some hosts only, and a cloud's notice one: all stop.
jax has an agreement of its own (reached_preemption_sync_point), which chooses the step without a collective, but knows
SIGTERM alone: neither Ctrl-C nor a notice can raise it.
"""

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from biggan_jax.runtime import cli

logger = logging.getLogger(__name__)

SIGNALS = signal.SIGINT, signal.SIGTERM

ONE_PRESS = 0.1
"""Seconds within which two SIGINTs are one Ctrl-C, which reached the process on two ways."""


class Interrupt:
    """While entered, Ctrl-C and SIGTERM raise a flag, to be looked at between steps.

    A second Ctrl-C ends a command at once, whatever it is doing; elsewhere, as in a notebook, it is a KeyboardInterrupt. A
    second SIGTERM, which some cluster managers send, changes nothing.
    last_saved: to be set to what says the step from which the same command would go on, if any is saved.
    """

    AGREE_EVERY, AGREE_WITHIN = 10, 3.0
    """Steps, and about how many seconds, between the questions that several hosts put to each other; one host looks each time."""

    def __init__(self) -> None:
        self.wanted = False
        self.last_saved: Callable[[], int | None] = lambda: None
        self._began = False
        self._pressed: float | None = None
        self._handled = 0
        self._steps, self._ask_at, self._asked = 0, 0, (0, time.monotonic())

    def __enter__(self) -> "Interrupt":
        self._former = None
        if threading.current_thread() is not threading.main_thread():  # Which alone may have signal handlers.
            return self
        # Python runs handlers between two of its own instructions: not during a compilation, which takes minutes. What it does at
        # once is to write the signal's number here.
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._former = {number: signal.signal(number, self._handle) for number in SIGNALS}
        self._former_wakeup = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_) -> None:
        if self._former is None:
            return
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._told.close()
        self._listener.join()
        self._heard.close()

    def want(self, why: str) -> None:
        """To stop after this step. From any thread."""
        self.wanted = True
        logger.warning("%s: %s", why, "saving after this step" if self._began else "ending before the first step")

    def agreed(self, so_far: Any = None) -> bool:
        """Whether to stop after this step, the same answer on all hosts; to be asked once before the first step and after each.

        so_far: the arrays that have been asked for. A question of several hosts waits for them: on CPUs, which work on several
        computations at a time, its collective and theirs would wait for each other.
        """
        self._began = True
        if jax.process_count() == 1:
            return self.wanted
        step, self._steps = self._steps, self._steps + 1
        if step < self._ask_at:
            return False
        jax.block_until_ready(so_far)
        now, (last, then) = time.monotonic(), self._asked
        self._asked = step, now
        soon = int(self.AGREE_WITHIN * (step - last) / max(now - then, 1e-9))
        mine = np.array([self.wanted, np.clip(soon, 1, self.AGREE_EVERY)], np.int32)
        all_said = multihost_utils.process_allgather(mine)
        self._ask_at = step + int(all_said[:, 1].min())
        return bool(all_said[:, 0].any())

    def _handle(self, number: int, frame) -> None:
        self.wanted = True
        self._handled += number == signal.SIGINT
        if self._handled > 1 and not cli.is_command():
            raise KeyboardInterrupt

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while numbers := self._heard.recv(64):
                for number in numbers:
                    if number in SIGNALS:
                        self._hear(signal.Signals(number))

    def _hear(self, number: signal.Signals) -> None:
        if number is not signal.SIGINT or not cli.is_command():
            return self.want(number.name)
        now = time.monotonic()
        if self._pressed is None:
            self._pressed = now
            return self.want("SIGINT (once more ends at once)")
        if now - self._pressed > ONE_PRESS:
            cli.end_at_once(f"ended at once, without saving; {self._how_to_go_on()}", cli.RUN_AGAIN)

    def _how_to_go_on(self) -> str:
        found = []
        look = threading.Thread(target=lambda: found.append(self.last_saved()), daemon=True)
        look.start()
        look.join(2)  # An object store may take longer, or fail.
        if not found:
            return "the same command goes on from the last checkpoint"
        if found == [None]:
            return "nothing had been saved before, so the same command begins anew"
        return f"the same command goes on from step {found[0]}"
