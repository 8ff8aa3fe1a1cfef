"""Run this command again in a child process, and report how it ends."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

_CHILD = "BIGGAN_JAX_CHILD"  # Set in the child's environment.


def is_child() -> bool:
    """Whether `run_child` started this process. Call once, at the start: the child's own children must not inherit the answer."""
    if not os.environ.pop(_CHILD, ""):
        return False
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return True


def run_child(withhold: Callable[[str], bool]) -> tuple[int, str]:
    """Run this command again as a child, and forward SIGINT and SIGTERM to it.

    Args:
        withhold: asked for each line the child writes to stderr; True keeps the line from this process's stderr.

    Returns:
        The exit status, negative if a signal ended the child, and the withheld lines.
    """
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env=os.environ | {_CHILD: "1"},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Otherwise Ctrl-C on a terminal would reach the child twice.
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: child.send_signal(number))
    withheld: list[str] = []

    def read() -> None:
        assert child.stderr is not None
        for line in child.stderr:
            if withhold(line):
                withheld.append(line)
            else:
                sys.stderr.write(line)
                sys.stderr.flush()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    status = child.wait()
    reader.join(5)  # A process that the child has started may live longer and hold its stderr open.
    return status, "".join(withheld)


def state(pid: str) -> str:
    """The state of a process as ps shows it, such as T: stopped. X from when it begins to exit, "" if it is unknown."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        stat = pathlib.Path(f"/proc/{int(pid)}/stat").read_text(errors="replace")
        fields = stat.rpartition(")")[2].split()  # The process name before it may contain anything.
        return "X" if int(fields[6]) & 4 else fields[0].upper()  # PF_EXITING: to free much memory takes seconds.
    return ""


def _end_with_parent() -> None:
    """Exit when the parent exits, which closes stdin."""
    while os.read(0, 1):
        pass
    os._exit(128 + signal.SIGKILL)
