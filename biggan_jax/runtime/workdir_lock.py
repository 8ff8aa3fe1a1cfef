"""Owns who may write in a run's folder: one run at a time, wherever it runs. Must not know what is written there.

A run lays running.json in its folder, shows every EVERY seconds that it lives, looks whether the file is still its own, and
takes it away at the end. What is guaranteed: of several runs that begin at the same moment one goes on (on one machine: by a
lock; on several that share a disk: a file is made anew or not at all). In an object store, where epath can do neither, the
last to write wins, unless writing took it longer than VISIBILITY_DELAY seconds: then the other notices within EVERY seconds.
"""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import pathlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath

from biggan_jax.runtime import cli, distributed
from biggan_jax.runtime.files import is_remote, unique_suffix, user_errors
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

FILE = "running.json"

EVERY = 10
"""Seconds between two signs of life."""

MISSED_HEARTBEATS = 3
"""Signs in a row that must fail to come before a run on another machine counts as dead."""

VISIBILITY_DELAY = 2
"""Seconds after which all that was written to an object store at the same moment lies there."""

_WAIT, _TIRED, _OURS = "wait", "tired", ""
_held: set[str] = set()
"""The leases of this process."""


class WorkdirLock:
    """While entered, this run alone may write in `workdir`, which is made. To be entered by all processes of a run alike.

    ours: False if `tired()` ended the wait for a sign of life from another run. Raises UserError if such a sign came. A command
    that loses its folder later, because it was suspended for long, say, and another run has taken it, ends at once.
    """

    def __init__(self, workdir: epath.PathLike, tired: Callable[[], bool] = lambda: False):
        self._folder = epath.Path(workdir)
        self._path = self._folder / FILE
        self._id, self._tired = unique_suffix().lstrip("."), tired
        self._began = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        self._renewed, self._looked = 0, _now()
        self._lost, self._gone, self._failing = "", False, False
        self._over, self._looking = threading.Event(), threading.Lock()
        self._first = jax.process_index() == 0

    def __enter__(self) -> "WorkdirLock":
        _held.add(self._id)
        attempts = self._attempts()
        # All processes learn of each attempt: waiting long for one answer, they would take each other for dead.
        while (verdict := distributed.broadcast_str(next(attempts) if self._first else "")) == _WAIT:
            time.sleep(1)
        self.ours = verdict == _OURS
        if not self.ours:
            _held.discard(self._id)
        if verdict not in (_OURS, _TIRED):
            raise UserError(verdict)
        if self._first and self.ours:
            self._looked = _now()
            threading.Thread(target=self._keep, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        if not (self._first and self.ours):
            return
        _held.discard(self._id)
        with self._looking, contextlib.suppress(Exception), _alone(self._folder):
            if self._is_ours(self._read()[0]):
                self._path.unlink()

    def check(self) -> None:
        """To be called before anything is written. Ends a command, else raises UserError, if another run has taken the folder."""
        if self._first and not self._lost and _now() - self._looked > 2 * EVERY:
            self._look()  # This process was suspended, and the thread that looks may be late, too.
        if self._lost:
            self._end()

    def _attempts(self) -> Iterator[str]:
        """_WAIT as often as needed, then _OURS, or the sentence that says whose the folder is."""
        seen, until, met = None, 0.0, False
        while True:
            try:
                with user_errors(self._folder, "workdir"):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    with _alone(self._folder):
                        found = text, _ = self._read()
                        holder = _parsed(text)
                        alive = _lives(holder) if text else None
                        if text is None or alive is False or (found == seen and _now() > until):
                            verdict = self._take(replace=text is not None)
                        elif (alive and met) or seen not in (None, found):
                            raise UserError(
                                f"{self._folder} is in use by another run: {_who(holder)}; "
                                "wait until it has ended, or give another folder"
                            )
                        else:
                            verdict, met = _WAIT, bool(alive)  # A killed run may take a moment to die.
                    if verdict == _OURS and (seen or is_remote(self._folder)):
                        time.sleep(VISIBILITY_DELAY)
                        verdict = _OURS if self._is_ours(self._read()[0]) else _WAIT
                        seen = None
                    elif verdict == _WAIT and text is not None and not alive and not seen:
                        seen, patience = found, _patience(holder)
                        until = _now() + patience
                        said = "%s was last in use by %s; watching for %.0f s whether that run lives"
                        logger.info(said, self._folder, _who(holder), patience)
            except UserError as error:
                verdict = str(error)
            yield _TIRED if verdict == _WAIT and self._tired() else verdict

    def _keep(self) -> None:
        pause = 1  # Soon, for the sake of the guarantee.
        while not self._over.wait(pause):
            self._look()
            pause = 1 if self._gone else EVERY
            if self._lost and not self._over.is_set():
                return self._end() if cli.is_command() else None

    def _end(self) -> None:
        if cli.is_command():  # Clean-up would still write: what is left of a checkpoint, or of metrics.
            cli.end_at_once(f"error: {self._lost}", cli.USER_ERROR)
        raise UserError(self._lost)

    def _look(self) -> None:
        """Looks whose the folder is, and shows that this run lives. What fails is told once, and tried again."""
        began = _now()
        if not self._looking.acquire(timeout=EVERY):  # The other thread waits for a network: training does not.
            self._looked = began
            return
        try:
            self._look_alone()
            self._failing = False
        except Exception as error:  # Of any file system: the run must not end because a network is down for a while.
            if not self._failing:
                logger.warning("%s cannot be renewed, training goes on: %s", self._path, error)
            self._failing = True
        finally:
            self._looked = began
            self._looking.release()

    def _look_alone(self) -> None:
        with _alone(self._folder):
            text, _ = self._read()
            if self._over.is_set():
                return
            if self._is_ours(text):
                self._gone = False
                self._renew()
            elif text:
                self._lost = (
                    f"another run has taken {self._folder}, where this one had shown no sign of life for long: "
                    f"{_who(_parsed(text))}; this one ends without writing any more"
                )
            elif self._gone:  # Deleted, or emptied, and nobody else came.
                self._take(replace=text is not None)
            else:
                self._gone = True  # Or another run is making it, just now.

    def _read(self) -> tuple[str | None, int]:
        """The file's text, None if there is none, and what else changes while its run lives."""
        try:
            if is_remote(self._path):
                return self._path.read_text(), 0
            with open(self._path, errors="replace") as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None, 0

    def _renew(self) -> None:
        if not is_remote(self._path):
            os.utime(self._path)  # A full disk allows it, and if the file is another run's by now, it spoils nothing.
            return
        self._renewed += 1
        self._path.write_text(self._text())

    def _take(self, replace: bool) -> str:
        """Lays this run's file there. _WAIT if another run was faster."""
        if is_remote(self._path):
            self._path.write_text(self._text())
            return _OURS
        if replace:
            self._path.unlink(missing_ok=True)
        try:
            with open(self._path, "x") as file:
                file.write(self._text())
        except FileExistsError:
            return _WAIT
        except OSError:  # A full disk: an empty file would keep the next run waiting.
            self._path.unlink(missing_ok=True)
            raise
        return _OURS

    def _text(self) -> str:
        """Of a length that does not change: object stores' listings, from which lengths are taken, may be old."""
        pid = os.getpid()
        mine = {"id": self._id, **_machine(), "pid": pid, "process_began": _life_of(pid)[1], "started": self._began}
        return json.dumps(mine | {"every": EVERY, "renewed": f"{self._renewed:010d}"}, indent=2) + "\n"

    def _is_ours(self, text: str | None) -> bool:
        return text is not None and f'"id": "{self._id}"' in text


def _now() -> float:
    """Seconds by a clock of this machine that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextlib.contextmanager
def _alone(folder: epath.Path) -> Iterator[None]:
    """One process of this machine at a time, where the file system knows locks."""
    if is_remote(folder):
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _machine() -> dict[str, str]:
    """Processes with equal values see each other by their numbers: of one boot, and in one container."""
    boot = pids = ""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids = os.readlink("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "boot": boot, "pid_namespace": pids}


def _life_of(pid: int) -> tuple[str, str]:
    """(state, when it began) of a process, ("", "") if there is none. States are those of ps: Z is dead, but not buried, X dying."""
    if os.path.exists("/proc/self/stat"):
        try:
            # The name, in parentheses, may hold anything, spaces and parentheses, too.
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            exiting = int(fields[6]) & 4  # The kernel's PF_EXITING: large memories are not given back in a moment.
            return "X" if exiting else fields[0], fields[19]
        except OSError:
            return "", ""
    told = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = told.stdout.strip().partition(" ")
    return state[:1], began.strip()


def _lives(holder: dict[str, Any]) -> bool | None:
    """Whether that run lives; None if it cannot be seen from this machine."""
    if not holder or any(holder.get(key) != value for key, value in _machine().items()):
        return None
    pid = holder.get("pid")
    if pid == os.getpid() and holder.get("id") not in _held:
        return False
    state, began = _life_of(pid) if isinstance(pid, int) else ("", "")
    return began == holder.get("process_began") and state not in ("", "Z", "X")


def _patience(holder: dict[str, Any]) -> float:
    """Seconds without a sign of life after which a run that cannot be seen counts as dead."""
    every = holder.get("every")
    return (MISSED_HEARTBEATS + 0.5) * (min(max(every, 1), 60) if isinstance(every, int | float) else EVERY)


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        read = json.loads(text or "")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _who(holder: dict[str, Any]) -> str:
    if "pid" not in holder:
        return f"{FILE} does not say whose"
    who = f"process {holder['pid']} on {holder.get('host')}, since {holder.get('started')}"
    suspended = _lives(holder) and _life_of(holder["pid"])[0] in ("T", "t")
    return f"{who}, suspended now" if suspended else who
