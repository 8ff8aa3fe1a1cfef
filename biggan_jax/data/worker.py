"""Owns how worker processes begin and end: with the command that started them. Must not know what they do."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading

_TIDIED = "ignore::UserWarning:multiprocessing.resource_tracker"


def tidy_silently() -> None:
    """To be called before workers are begun: what they shared is removed though their command is killed, and nothing is said."""
    if _TIDIED not in sys.warnoptions:  # Which Python hands on to the process that tidies up.
        sys.warnoptions.append(_TIDIED)


def begin(*_) -> None:
    """To be called first in a worker.

    Signals to all of a command's processes (Ctrl-C, a cluster's SIGTERM) are the command's to answer: it still saves with
    what they have read. If it is killed, they end, where they would wait for more work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    assert parent is not None, "not a worker"

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
