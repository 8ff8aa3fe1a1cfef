"""Read ahead in a thread, so that waiting for data can be said and given up."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from biggan_jax.runtime import cli

logger = logging.getLogger(__name__)


class Ahead(Iterator[Any]):
    """Iterate over `elements`, of which a thread keeps `size` ready; end early if `cancelled()` while none is ready.

    A wait of STALL seconds is said, and again each time that it has doubled. `now`: the clock, in seconds. Call `close` at the end.
    """

    STALL, POLL, LEAVE = 30.0, 0.2, 5.0  # Seconds: until a wait is said; between checks; for the thread to end.
    now = staticmethod(time.monotonic)

    def __init__(self, elements: Iterator[Any], size: int, cancelled: Callable[[], bool] = lambda: False):
        self._elements, self._cancelled = elements, cancelled
        self._ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(size)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> Any:
        with contextlib.suppress(queue.Empty):
            return self._taken(self._ready.get_nowait())
        began, due = self.now(), self.STALL
        while not self._cancelled():
            with contextlib.suppress(queue.Empty):
                return self._taken(self._ready.get(timeout=self.POLL))
            if (waited := self.now() - began) >= due:
                due *= 2
                hint = "is the disk or the network of the data at fault?"
                logger.warning("training has waited %.0f s for data, and still waits; %s", waited, hint)
        raise StopIteration

    def close(self) -> None:
        """Stop reading. If the thread hangs in a read, the command will end without it."""
        self._closed.set()
        with contextlib.suppress(queue.Empty):
            while True:  # The thread may wait for room.
                self._ready.get_nowait()
        self._thread.join(self.LEAVE)
        if self._thread.is_alive():
            cli.leave_threads()
        elif close := getattr(self._elements, "close", None):
            close()

    def _taken(self, item: tuple[Any, BaseException | None]) -> Any:
        element, error = item
        if error is not None:
            self._ready.put(item)  # For the next call, too.
            raise error
        return element

    def _read(self) -> None:
        try:
            while not self._closed.is_set():
                self._put((next(self._elements), None))
        except BaseException as error:  # Also StopIteration: the end.
            self._put((None, error))

    def _put(self, item: tuple[Any, BaseException | None]) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                return self._ready.put(item, timeout=self.POLL)
