"""Owns the wish to stop: SIGINT and SIGTERM, and the hosts' agreement on the step at which. Must not know what is stopped."""

import logging
import signal

import jax
import numpy as np
from jax.experimental import multihost_utils

logger = logging.getLogger(__name__)


class Interrupt:
    """While entered, Ctrl-C and SIGTERM only raise a flag, to be looked at between steps."""

    AGREE_EVERY = 10
    """Steps between the questions that several hosts put to each other; one host asks itself after each."""

    def __enter__(self) -> "Interrupt":
        self._wanted = False
        self._former = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        self._wanted = True
        logger.info("%s: saving after this step", signal.Signals(number).name)

    def agreed(self, step: int) -> bool:
        """Whether to stop after `step`, the same answer on all hosts: a signal to any of them stops all."""
        if jax.process_count() == 1:
            return self._wanted
        if step % self.AGREE_EVERY:
            return False
        return bool(multihost_utils.process_allgather(np.array(self._wanted)).any())
