"""Lock a workdir, local or in an object store, for one training run."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable

import jax
from etils import epath

from biggan_jax.errors import UserError
from biggan_jax.runtime import cli, distributed
from biggan_jax.runtime.files import OSLock, is_remote, unique_suffix, user_errors, write_text

logger = logging.getLogger(__name__)

FILE = "running.json"
HEARTBEAT_SECONDS = 10  # Between two heartbeats.
MISSED_HEARTBEATS = 3  # Before a run on another machine is presumed dead.
VISIBILITY_DELAY = 2  # Seconds until concurrent writes to an object store are visible.
_OWNED, _WAIT, _CANCELLED = "", "wait", "cancelled"
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # It also counts while the machine sleeps.


class WorkdirLock:
    """Lock `workdir` for this run while entered. All hosts enter together; process 0 holds the lock.

    The holder renews running.json in the workdir. On its machine it also holds an OS lock, which the kernel releases when
    the process dies. On other machines, a new run watches running.json for a heartbeat. If several runs start at once, one
    wins: on a disk, the one that creates the file; in an object store, the last to write it.

    The workdir is created if it is missing. `cancelled` is asked while another run may be alive: True ends the wait, and `owned`
    is False. Entering raises UserError if another run uses the workdir, or it cannot be used.
    """

    now, sleep = staticmethod(lambda: time.clock_gettime(_CLOCK)), staticmethod(time.sleep)

    def __init__(self, workdir: epath.PathLike, cancelled: Callable[[], bool] = lambda: False):
        self.owned = False
        self._folder, self._path, self._remote = epath.Path(workdir), epath.Path(workdir) / FILE, is_remote(workdir)
        self._cancelled, self._process_0 = cancelled, jax.process_index() == 0
        self._id, self._started = unique_suffix(), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        self._os_lock = OSLock(str(workdir) if self._remote else os.path.realpath(workdir))
        self._watched: tuple[str | None, int] | None = None
        self._deadline = self._last_heartbeat = 0.0
        self._heartbeats, self._failing, self._lost = 0, False, ""
        self._ended, self._mutex = threading.Event(), threading.Lock()

    def __enter__(self) -> "WorkdirLock":
        # Broadcast every attempt, or the peers' heartbeats time out.
        while (verdict := distributed.broadcast_str(self._attempt() if self._process_0 else "")) == _WAIT:
            self.sleep(1)
        self.owned = verdict == _OWNED
        if not self.owned:
            self._os_lock.release()
        if verdict not in (_OWNED, _CANCELLED):
            raise UserError(verdict)
        self._last_heartbeat = self.now()
        if self.owned and self._process_0:
            threading.Thread(target=self._keep_alive, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        if self.owned and self._process_0:
            with self._mutex, contextlib.suppress(Exception):
                if _field(self._read()[0], "id") == self._id:
                    self._path.unlink()
            self._os_lock.release()

    def check(self) -> None:
        """End the command, or raise UserError in a notebook, if another run has taken the workdir. Call before each write."""
        late = self.now() - self._last_heartbeat > 2 * HEARTBEAT_SECONDS
        if late and self.owned and self._process_0:
            self.heartbeat()  # This process was suspended, and its thread may not have run since.
        if self._lost:
            if cli.is_command:  # Without clean-up, which would still write metrics and checkpoints.
                cli.end_at_once(f"error: {self._lost}", cli.USER_ERROR)
            raise UserError(self._lost)

    def heartbeat(self) -> None:
        """Renew running.json, unless another run has taken the workdir."""
        self._last_heartbeat = self.now()
        if not self._mutex.acquire(timeout=HEARTBEAT_SECONDS):
            return  # The thread waits for a network; training must not.
        try:
            if not self._ended.is_set() and not self._lost:
                self._renew(self._read()[0])
            self._failing = False
        except Exception as error:  # Whatever a file system raises: a network that is down must not end the run.
            if not self._failing:
                logger.warning("%s cannot be renewed, training continues: %s", self._path, error)
            self._failing = True
        finally:
            self._mutex.release()

    def _renew(self, text: str | None) -> None:
        self._heartbeats += 1
        if text and _field(text, "id") != self._id:
            why = f"because this run missed its heartbeats: {_describe(text)}; this run ends without writing any more"
            self._lost = f"another run has taken {self._folder}, {why}"
        elif text and not self._remote:
            os.utime(self._path)  # Unlike a write, this works on a full disk.
        else:  # Also if the file was deleted.
            self._write(text)

    def _keep_alive(self) -> None:
        pause: float = 1
        while not self._ended.wait(pause):
            self.heartbeat()
            if self._lost and cli.is_command:
                self.check()
            pause = HEARTBEAT_SECONDS

    def _attempt(self) -> str:
        """Try once to take the workdir. Returns _OWNED, _WAIT, _CANCELLED or an error message."""
        try:
            with user_errors(self._folder, "workdir"):
                self._folder.mkdir(parents=True, exist_ok=True)
                verdict = self._try()
        except UserError as error:
            return str(error)
        return _CANCELLED if verdict == _WAIT and self._cancelled() else verdict

    def _try(self) -> str:
        acquired = self._os_lock.acquire()
        found = text, _ = self._read()
        on_this_machine = _field(text, "os_lock") == self._os_lock.id
        dead = acquired if on_this_machine else text is None
        if not dead:
            state = distributed.process_state(_field(text, "pid")) if on_this_machine else ""
            if self._watched is None:
                self._watched, seconds = found, (MISSED_HEARTBEATS + 0.5) * HEARTBEAT_SECONDS
                self._deadline = self.now() + seconds
                if not on_this_machine:
                    message = "%s was last used by %s; waiting %.0f s for a heartbeat of that run"
                    logger.info(message, self._folder, _describe(text), seconds)
            # A killed process takes a moment to exit.
            elif found != self._watched or (on_this_machine and state != "X"):
                suspended = ", suspended now" if state == "T" else ""
                hint = "wait until it has ended, or use another folder"
                return f"{self._folder} is in use by another run: {_describe(text)}{suspended}; {hint}"
            if self.now() < self._deadline:
                return _WAIT
        if not acquired or not self._write(text):
            return _WAIT  # Another run is faster.
        if self._remote or not dead:
            self.sleep(VISIBILITY_DELAY)
        self._watched = None
        return _OWNED if _field(self._read()[0], "id") == self._id else _WAIT

    def _read(self) -> tuple[str | None, int]:
        """The text of running.json, None if it is missing, and its modification time. A heartbeat changes one of them."""
        try:
            # The time first: of a file that is being created, a new time with the old, empty text would look like a heartbeat.
            changed = 0 if self._remote else os.stat(self._path).st_mtime_ns
            return self._path.read_bytes().decode(errors="replace"), changed
        except FileNotFoundError:
            return None, 0

    def _write(self, old: str | None) -> bool:
        """Write running.json in place of the text `old`. Returns False if there was none, and another run has just created it."""
        me = {"id": self._id, "host": socket.gethostname(), "pid": os.getpid(), "started": self._started}
        me |= {"os_lock": self._os_lock.id, "heartbeats": f"{self._heartbeats:010d}"}  # Object stores cache the length.
        text = json.dumps(me, indent=2) + "\n"
        if self._remote or old is not None:
            write_text(self._path, text, self._id)
            return True
        try:
            with open(self._path, "x") as file:
                file.write(text)
            return True
        except FileExistsError:
            return False
        except OSError:  # The disk is full: an empty file would make the next run wait for a heartbeat.
            self._path.unlink(missing_ok=True)
            raise


def _field(text: str | None, key: str) -> str:
    """A value in running.json; "" if it is missing or cannot be parsed."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text or "")[key])
    return ""


def _describe(text: str | None) -> str:
    if not _field(text, "pid"):
        return f"{FILE} does not say which"
    return "process {} on {}, since {}".format(*(_field(text, key) for key in ("pid", "host", "started")))
