"""Start and end of worker processes: they ignore signals, and end with the process that started them."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading

_LEAKED = "ignore::UserWarning:multiprocessing.resource_tracker"


def silence_resource_tracker() -> None:
    """Suppress warnings about shared memory left behind when the command is killed. Call before starting workers."""
    if _LEAKED not in sys.warnoptions:  # Python passes these options on to the resource tracker's process.
        sys.warnoptions.append(_LEAKED)


def init_worker(*_) -> None:
    """Ignore signals, and exit when the parent dies. Call first in a worker.

    Signals to all of a command's processes (Ctrl-C, SIGTERM from a cluster) are handled by the main process, which still saves
    and needs what the workers have read. Without a parent, workers would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "not a worker"

    def exit_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
