"""Owns the company of a run's other processes: joining them, and ending soon, with one sentence, when one of them is gone.

It must not know what they compute. A process that is one of several works in a child of its own, since jax ends a process
whose company is lost on the spot, from C++, with a stack trace, and lets no Python code know. Its parent waits, passes on
what it prints, and says what happened.
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from biggan_jax.runtime import cli
from biggan_jax.types import UserError

HEARTBEAT = 30
"""Seconds of silence after which a process counts as gone. If it was process 0, the others know at once."""

PATIENCE = 10
"""Seconds that a process which failed waits for the others, who may have failed alike and want to say so, too."""

_WATCHED = "BIGGAN_JAX_WATCHED"  # Set in the environment of the child.
_is_child = False
_OWN_LINE = re.compile(r"\d\d:\d\d:\d\d |[IWEF]\d{4} ")
_OF_COORDINATION = re.compile(r"[WEF]\d{4} [^]]*\b(coordination_service\w*|preemption_sync_manager|client)\.(cc|h):")
_LOST = "JAX distributed service detected fatal errors"


def run(work: Callable[[], int], cluster: tuple[str | None, int | None, int | None], arrive_within: int) -> int:
    """Joins the others of `cluster` (coordinator, how many, which), does the work, and returns its exit status.

    RUN_AGAIN, too, where another process is gone or never came; with a sentence that says so, at most 60 s after it died.
    """
    global _is_child
    _is_child = bool(os.environ.pop(_WATCHED, ""))
    if not _is_child:
        return _watch(cluster, arrive_within)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _join(cluster, arrive_within)
        return work()
    except UserError as error:
        cli.complain(f"error: {error}")
        _leave(error.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _leave(128 + signal.SIGINT)
    except Exception as error:
        exit_without_barrier(type(error), error, error.__traceback__)
        raise  # Not reached: this process has ended.


def broadcast(values: np.ndarray) -> np.ndarray:
    """The first process's int32 values, in every process that works together: of one shape in all of them."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values.astype(np.int32)))


def broadcast_str(words: str) -> str:
    """The first process's words, in every process that works together; of 1,000 bytes at most."""
    if jax.process_count() == 1:
        return words
    padded = words.encode()[:1000].ljust(1000, b"\0")
    return bytes(broadcast(np.frombuffer(padded, np.uint8)).astype(np.uint8)).rstrip(b"\0").decode(errors="ignore")


def all_agree(yes: bool) -> bool:
    """Whether every process that works together says yes."""
    return yes if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(yes)).all())


def exit_without_barrier(kind, error, trace) -> None:
    """For ExitStack.push, as one of several: an error ends this process here, before clean-up that would wait for the others.

    They notice, and end. If it was they who failed, this process is ended, too, while it waits to see.
    """
    if not _is_child or not isinstance(error, Exception) or isinstance(error, UserError):
        return
    if _may_be_anothers(error):
        with contextlib.redirect_stderr(io.StringIO()):  # Threads of libraries fail on the same loss.
            time.sleep(HEARTBEAT + PATIENCE)
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def _may_be_anothers(error: BaseException | None) -> bool:
    """Whether the error may come of a lost connection: all of jax's may, but for the lack of memory."""
    if error is None:
        return False
    if isinstance(error, jax.errors.JaxRuntimeError | TimeoutError):
        return "RESOURCE_EXHAUSTED" not in str(error)
    return _may_be_anothers(error.__cause__ or error.__context__)


def _join(cluster: tuple[str | None, int | None, int | None], arrive_within: int) -> None:
    # The waiting is done in C++, where Python's own handler is not heard.
    former = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(*cluster, initialization_timeout=arrive_within, heartbeat_timeout_seconds=HEARTBEAT)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--multihost: {error}; where no cluster is recognised, give --coordinator, --num_processes and --process_id"
        ) from error
    finally:
        signal.signal(signal.SIGINT, former)


def _leave(status: int) -> NoReturn:
    """Ends this process. If the others end alike, together with them: else those would report that this one is gone."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(status))
    shutdown = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    shutdown.start()
    shutdown.join(PATIENCE)
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    """The parent holds the other end of stdin, whatever becomes of it."""
    while os.read(0, 1):
        pass
    os._exit(128 + signal.SIGKILL)


def _watch(cluster: tuple[str | None, int | None, int | None], arrive_within: int) -> int:
    """Runs this same command as a child. Returns the exit status of both."""
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env=os.environ | {_WATCHED: "1"},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Else Ctrl-C on a terminal would reach it twice.
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: child.send_signal(number))
    held: list[str] = []
    reader = threading.Thread(target=_pass_on, args=(child.stderr, held), daemon=True)
    reader.start()
    status = child.wait()
    reader.join(5)  # What the child has started may live on and hold its stderr open.
    told = "".join(held)
    if _LOST in told:
        if status in (cli.SUCCESS, cli.USER_ERROR, cli.COLLAPSED):
            return status  # It was done already.
        # By version of jax the status is 1, or that of SIGABRT.
        cli.complain(_explain(told, cluster, arrive_within))
        return cli.RUN_AGAIN
    sys.stderr.write(told)
    if status == -signal.SIGINT:  # While it waited for the others.
        print("interrupted", file=sys.stderr)
    elif status < 0:
        cli.complain(f"ended by signal {-status}; the same command goes on from the last checkpoint")
    return 128 - status if status < 0 else status


def _pass_on(lines: Iterable[str], held: list[str]) -> None:
    """Prints the lines but those in which jax tells of lost processes, which it adds to `held`."""
    holding = lost = False
    for line in lines:
        lost = lost or _LOST in line  # From here on it is all a stack trace.
        if lost or _OWN_LINE.match(line):
            holding = lost or bool(_OF_COORDINATION.match(line))
        if holding:
            held.append(line)
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


def _explain(text: str, cluster: tuple[str | None, int | None, int | None], arrive_within: int) -> str:
    coordinator, count, _ = cluster
    text = text[text.index(_LOST) :]
    if "RegisterTask" in text:
        where, all_of_them = f" at {coordinator}" if coordinator else "", f"all {count}" if count else "all"
        return (
            f"not {all_of_them} processes arrived{where} within {arrive_within} s (--arrive_within); "
            "start them all, and the same command goes on"
        )
    gone = re.findall(r"[Tt]ask (?:\S*task:)?(\d+) heartbeat timeout", text)
    if unhealthy := re.search(r"stopped sending heartbeats\):\n(.*)", text):
        gone = re.findall(r"(?:task:|^|[\s,])(\d+)\b", unhealthy[1])
    if "Failed to send RPC to coordination service" in text or "Socket closed" in text:
        gone = ["0"]
    who = f"process {', '.join(gone)} is" if len(gone) == 1 else f"processes {', '.join(gone)} are"
    return (
        f"{who if gone else 'another process is'} gone, so this one ends, too; "
        "the same command, given to all of them, goes on from the last checkpoint"
    )
