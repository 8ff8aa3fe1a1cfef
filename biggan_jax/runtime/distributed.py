"""Multi-process setup, and prompt shutdown when a peer dies.

JAX ends a process from C++ when a peer is lost, with a stack trace. `run` therefore does the work in a child process; its
parent forwards what the child prints, and replaces that trace with one sentence. JAX alone does not suffice (0.7.2 to 0.10.2):
with `jax_enable_recoverability` the death of process 0 still aborts the others, and a Python `missed_heartbeat_callback` fails
with std::bad_cast.
"""

import contextlib
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from biggan_jax.errors import UserError
from biggan_jax.runtime import cli, devices, startup
from biggan_jax.runtime.files import causes

HEARTBEAT_TIMEOUT = 30  # Seconds before a process is presumed dead. The death of process 0 is noticed at once.
SHUTDOWN_TIMEOUT = 10  # Seconds that a failed process waits for peers, which may fail alike and have to report it.

# Coordinator address, number of processes and process id; None where JAX recognises the cluster.
Cluster = tuple[str | None, int | None, int | None]
_CHILD = "BIGGAN_JAX_CHILD"  # Set in the child's environment.
_is_child = False
_LOST = "JAX distributed service detected fatal errors"
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\d |[IWEF]\d{4} ")
_COORDINATION = re.compile(r"[WEF]\d{4} [^]]*\b(coordination_service\w*|preemption_sync_manager|client)\.(cc|h):")

_XLA = re.compile(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")
"""How an error of XLA's begins, which a collective on CPUs may raise as a ValueError."""


def run(work: Callable[[], int | None], cluster: Cluster, arrive_within: int) -> int | None:
    """Join `cluster`, call `work` and return its exit status (None: 0).

    Returns RUN_AGAIN, with one sentence on stderr, if a peer does not arrive within `arrive_within` seconds or has died (at
    most 60 s later).
    """
    global _is_child
    _is_child = is_child()
    if not _is_child:
        return _run_child(cluster, arrive_within)
    try:
        _join(cluster, arrive_within)
        return work()
    except UserError as error:
        cli.complain(f"error: {error}")
        _exit_together(error.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _exit_together(startup.INTERRUPTED)
    except Exception as error:
        if no_devices := devices.user_error(error):
            cli.complain(f"error: {no_devices}")
            _exit_together(no_devices.status)
        exit_without_barrier(type(error), error, error.__traceback__)
        raise  # Not reached: this process has ended.


def broadcast(values: np.ndarray) -> np.ndarray:
    """Broadcast int32 values from process 0 (same shape everywhere)."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values.astype(np.int32)))


def broadcast_str(text: str) -> str:
    """Broadcast a string of at most 1,000 bytes from process 0."""
    if jax.process_count() == 1:
        return text
    padded = text.encode()[:1000].ljust(1000, b"\0")
    return bytes(broadcast(np.frombuffer(padded, np.uint8)).astype(np.uint8)).rstrip(b"\0").decode(errors="ignore")


def all_agree(yes: bool) -> bool:
    """Whether `yes` is True on all processes."""
    return yes if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(yes)).all())


def exit_without_barrier(kind, error, trace) -> None:
    """End this process on an error, so that its peers end, too. Push it on an ExitStack, above clean-up that waits for them."""
    if not _is_child or not isinstance(error, Exception) or isinstance(error, UserError):
        return
    # A lost peer may have caused any JAX error except out-of-memory. JAX notices the loss, and ends this process.
    suspects = [
        e for e in causes(error) if isinstance(e, jax.errors.JaxRuntimeError | TimeoutError) or _XLA.match(str(e))
    ]
    if suspects and "RESOURCE_EXHAUSTED" not in str(suspects[0]):
        with contextlib.redirect_stderr(io.StringIO()):  # Threads of libraries report the same loss.
            time.sleep(HEARTBEAT_TIMEOUT + SHUTDOWN_TIMEOUT)
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def _join(cluster: Cluster, arrive_within: int) -> None:
    # JAX waits in C++, where a Python signal handler does not run.
    former = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(
            *cluster, initialization_timeout=arrive_within, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        hint = "if no cluster is recognised, give --coordinator, --num_processes and --process_id"
        raise UserError(f"--multihost: {error}; {hint}") from error
    finally:
        signal.signal(signal.SIGINT, former)


def _exit_together(status: int) -> NoReturn:
    """End this process; wait a moment for peers that end alike, which would otherwise report that this one is gone."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(status))
    shutdown = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    shutdown.start()
    shutdown.join(SHUTDOWN_TIMEOUT)
    sys.stderr.flush()
    os._exit(status)


def _run_child(cluster: Cluster, arrive_within: int) -> int:
    status, withheld = run_child(_Coordination())
    if _LOST in withheld:
        if status in (cli.SUCCESS, cli.USER_ERROR, cli.COLLAPSED):
            return status  # The work was finished before.
        # The status is 1 or that of SIGABRT, by version of JAX.
        cli.complain(_explain(withheld, cluster, arrive_within))
        return cli.RUN_AGAIN
    sys.stderr.write(withheld)
    if status == -signal.SIGINT:  # While it waited for its peers.
        print("interrupted", file=sys.stderr)
    elif status < 0:
        cli.complain(f"ended by signal {-status}; rerun the same command to resume from the last checkpoint")
    return 128 - status if status < 0 else status


def is_child() -> bool:
    """Whether `run_child` started this process. Call once, at the start: the child's own children must not inherit the answer."""
    if not os.environ.pop(_CHILD, ""):
        return False
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return True


def run_child(withhold: Callable[[str], bool]) -> tuple[int, str]:
    """Run this command again as a child, and forward SIGINT, SIGTERM and SIGHUP to it.

    withhold: asked for each line the child writes to stderr; True keeps the line from this process's stderr.
    Returns the exit status, negative if a signal ended the child, and the withheld lines.
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it.
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


def process_state(pid: str) -> str:
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


class _Coordination:
    """Tells which lines of stderr come from JAX's coordination service. After the line on lost peers, all do: a stack trace."""

    def __init__(self) -> None:
        self._in_message = self._lost = False

    def __call__(self, line: str) -> bool:
        self._lost = self._lost or _LOST in line
        if _LOG_LINE.match(line):  # Other lines continue a message.
            self._in_message = bool(_COORDINATION.match(line))
        return self._lost or self._in_message


def _explain(text: str, cluster: Cluster, arrive_within: int) -> str:
    """One sentence on the lost peers that JAX's message names."""
    coordinator, count, _ = cluster
    text = text[text.index(_LOST) :]
    if "RegisterTask" in text:
        where, expected = f" at {coordinator}" if coordinator else "", f"all {count}" if count else "all"
        late = f"not {expected} processes arrived{where} within {arrive_within} s (--arrive_within)"
        return f"{late}; start all of them; the same command resumes the run"
    lost = re.findall(r"[Tt]ask (?:\S*task:)?(\d+) heartbeat timeout", text)
    if unhealthy := re.search(r"stopped sending heartbeats\):\n(.*)", text):
        lost = re.findall(r"(?:task:|^|[\s,])(\d+)\b", unhealthy[1])
    if "Failed to send RPC to coordination service" in text or "Socket closed" in text:
        lost = ["0"]
    who = f"process {', '.join(lost)} is" if len(lost) == 1 else f"processes {', '.join(lost)} are"
    hint = "rerun the same command on all processes to resume from the last checkpoint"
    return f"{who if lost else 'another process is'} gone, so this process ends too; {hint}"
