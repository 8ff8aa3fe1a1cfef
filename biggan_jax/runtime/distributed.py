"""Multi-process setup, and prompt shutdown when a peer dies.

JAX ends a process from C++ when a peer is lost: with a stack trace, and without a Python exception. `run` therefore does the
work in a child process; its parent forwards what the child prints, and replaces that trace with one sentence.
JAX alone does not suffice (0.7.2 to 0.10.2): with `jax_enable_recoverability` the death of process 0 still aborts the others, and a
Python `missed_heartbeat_callback` fails with std::bad_cast.
"""

import contextlib
import io
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from biggan_jax.runtime import cli, process
from biggan_jax.types import UserError

HEARTBEAT_TIMEOUT = 30
"""Seconds without a heartbeat before a process is presumed dead. The death of process 0 is noticed at once."""

SHUTDOWN_TIMEOUT = 10
"""Seconds that a failed process waits for its peers, which may have failed alike and still have to report it."""

Cluster = tuple[str | None, int | None, int | None]
"""Coordinator address, number of processes and process id; None where JAX recognises the cluster."""

_is_child = False
_LOST = "JAX distributed service detected fatal errors"
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\d |[IWEF]\d{4} ")
_COORDINATION = re.compile(r"[WEF]\d{4} [^]]*\b(coordination_service\w*|preemption_sync_manager|client)\.(cc|h):")


def run(work: Callable[[], int], cluster: Cluster, arrive_within: int) -> int:
    """Join `cluster`, call `work` and return its exit status.

    Returns RUN_AGAIN, and prints one sentence, if a peer does not arrive within `arrive_within` seconds, or at most 60 s after
    a peer died.
    """
    global _is_child
    _is_child = process.is_child()
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
        _exit_together(128 + signal.SIGINT)
    except Exception as error:
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
    """End this process of a multi-process run on an error. Push it on an ExitStack, above clean-up that waits for the peers.

    The peers notice, and end. If a lost peer may have caused the error, wait until JAX notices the loss and ends this process.
    """
    if not _is_child or not isinstance(error, Exception) or isinstance(error, UserError):
        return
    if _may_come_from_a_peer(error):
        with contextlib.redirect_stderr(io.StringIO()):  # Threads of libraries report the same loss.
            time.sleep(HEARTBEAT_TIMEOUT + SHUTDOWN_TIMEOUT)
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def _may_come_from_a_peer(error: BaseException | None) -> bool:
    """Whether a lost peer may have caused this: any JAX error except out-of-memory."""
    if error is None:
        return False
    if isinstance(error, jax.errors.JaxRuntimeError | TimeoutError):
        return "RESOURCE_EXHAUSTED" not in str(error)
    return _may_come_from_a_peer(error.__cause__ or error.__context__)


def _join(cluster: Cluster, arrive_within: int) -> None:
    # JAX waits in C++, where a Python signal handler does not run.
    former = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(
            *cluster, initialization_timeout=arrive_within, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--multihost: {error}; if no cluster is recognised, give --coordinator, --num_processes and --process_id"
        ) from error
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
    status, withheld = process.run_child(_Coordination())
    if _LOST in withheld:
        if status in (cli.SUCCESS, cli.USER_ERROR, cli.COLLAPSED):
            return status  # The work was finished before.
        cli.complain(
            _explain(withheld, cluster, arrive_within)
        )  # The status is 1 or that of SIGABRT, by version of JAX.
        return cli.RUN_AGAIN
    sys.stderr.write(withheld)
    if status == -signal.SIGINT:  # While it waited for its peers.
        print("interrupted", file=sys.stderr)
    elif status < 0:
        cli.complain(f"ended by signal {-status}; rerun the same command to resume from the last checkpoint")
    return 128 - status if status < 0 else status


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
        return (
            f"not {expected} processes arrived{where} within {arrive_within} s (--arrive_within); "
            "start all of them; the same command resumes the run"
        )
    lost = re.findall(r"[Tt]ask (?:\S*task:)?(\d+) heartbeat timeout", text)
    if unhealthy := re.search(r"stopped sending heartbeats\):\n(.*)", text):
        lost = re.findall(r"(?:task:|^|[\s,])(\d+)\b", unhealthy[1])
    if "Failed to send RPC to coordination service" in text or "Socket closed" in text:
        lost = ["0"]
    who = f"process {', '.join(lost)} is" if len(lost) == 1 else f"processes {', '.join(lost)} are"
    return (
        f"{who if lost else 'another process is'} gone, so this process ends too; "
        "rerun the same command on all processes to resume from the last checkpoint"
    )
