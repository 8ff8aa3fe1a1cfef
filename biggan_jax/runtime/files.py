"""Files on disks and in object stores: atomic writes, locks, errors, arrays read without pickle."""

import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
from etils import epath

from biggan_jax.errors import InterruptedRunError, UserError


@contextlib.contextmanager
def atomic_write(path: epath.PathLike, suffix: str = "") -> Iterator[str]:
    """Yield the name of a local file to write, then move it to `path`; upload it if `path` is in an object store.

    `path` is left as it was if an error is raised. Several processes that may write it at once need a `unique_suffix`.
    """
    path = epath.Path(path)
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            yield f"{folder}/file"
            epath.Path(f"{folder}/file").copy(path, overwrite=True)
        return
    unfinished = pathlib.Path(path.parent) / f".{path.name}{suffix}.tmp"
    try:
        yield str(unfinished)
        with open(unfinished, "rb") as file:
            os.fsync(file)  # Otherwise, after a crash of the machine, the file may exist without its content.
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: epath.PathLike, text: str, suffix: str = "") -> None:
    """Write `text` to `path` atomically; see `atomic_write`."""
    with atomic_write(path, suffix) as unfinished:
        pathlib.Path(unfinished).write_text(text)


def matching(folder: epath.PathLike, pattern: str) -> list[epath.Path]:
    """List the entries of a folder whose names match the pattern, in order; [] if it is missing.

    In place of Path.glob, which takes brackets and stars in the folder's own name as a pattern, too.
    """
    folder = epath.Path(folder)
    return sorted(
        path for path in (folder.iterdir() if folder.is_dir() else ()) if fnmatch.fnmatchcase(path.name, pattern)
    )


def cache_folder(*, local: bool = False) -> epath.Path:
    """Return $BIGGAN_JAX_CACHE (may be gs://... unless `local`), else biggan_jax in the user's cache folder."""
    own = os.environ.get("BIGGAN_JAX_CACHE")
    if own and not (local and is_remote(own)):
        return epath.Path(expand_home(own))
    return epath.Path(expand_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "biggan_jax"


def expand_home(path: str) -> str:
    """Replace ~ or ~USER at the start of a path by that home folder; leave other paths, such as gs://, unchanged.

    Raises UserError for a user without a home folder.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UserError(
            f"{path}: {path.partition('/')[0]} has no home folder; write ./{path} for a folder of this name"
        )
    return expanded


@contextlib.contextmanager
def user_errors(folder: epath.PathLike, what: str) -> Iterator[None]:
    """Re-raise file-system errors about `folder` as UserError. `what` names the folder, such as workdir."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Of any type: OSError, TensorFlow's, gcsfs's, or a missing package's.
        hint = "; for gs:// folders pip install 'biggan-jax[gcs]'" if isinstance(error, ImportError) else ""
        raise UserError(f"{what} {folder} cannot be used: {reason_of(error, folder)}{hint}") from error


def reason_of(error: Exception, path: epath.PathLike) -> str:
    """Return an error's text; that of the file system without its number, and with the file only if it is not `path`."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return (
        error.strerror
        if error.filename is None or str(error.filename) in str(path)
        else f"{error.filename}: {error.strerror}"
    )


@contextlib.contextmanager
def writing(what: epath.PathLike) -> Iterator[None]:
    """Re-raise file-system errors as UserError: `what`, such as a path or --out=PATH, cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} cannot be written: {reason_of(error, what)}") from error


@contextlib.contextmanager
def disk_faults_explained(
    workdir: epath.PathLike, last_saved: Callable[[], int | None], began: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Re-raise errors of the disk that holds a run as a UserError that names the folder and the last saved step.

    A disk that is gone, read-only or fails in mid-run is an InterruptedRunError. began: whether the run had used its folder.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            raise
        if not any(map(_is_full, causes(error))):
            if not (began() and (reason := _fault_of(error, workdir))):
                raise
            step = None
            with contextlib.suppress(Exception):  # The folder may be gone.
                step = last_saved()
            hint = "nothing is known to be saved" if step is None else f"step {step} is saved"
            what = f"training ended, since {workdir} cannot be used any more ({reason}); {hint}"
            raise InterruptedRunError(f"{what}; rerun the same command when it can") from error
        space, step = "", last_saved()
        if not is_remote(workdir):
            disk = shutil.disk_usage(workdir)
            space = f" ({disk.free / 1e6:,.1f} MB of {disk.total / 1e6:,.1f} MB are free, or a quota is used up)"
        # A save in progress may yet complete, and a run that has collapsed or is at its end does not resume.
        hint = "rerun the same command" + ("" if step is None else f"; step {step} is saved")
        raise UserError(f"no room is left to write in {workdir}{space}; free some and {hint}") from error


_BROKEN = {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT}
_OF_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM}  # Only of files in the run's folder.
_BROKEN_TEXT = "Read-only file system|Input/output error|Stale file handle|Transport endpoint is not connected"
_GONE_TEXT = "No such file or directory|Permission denied|Operation not permitted|NOT_FOUND|does not exist"


def _fault_of(error: BaseException, workdir: epath.PathLike) -> str:
    """Return the reason in words if a fault of the disk that holds `workdir` has caused the error, else ""."""
    folder = os.path.abspath(workdir) if not is_remote(workdir) else str(workdir)
    for cause in causes(error):
        text = " ".join(str(cause).split())
        inside = folder in text or str(workdir) in text
        if isinstance(cause, OSError) and cause.strerror:
            named = cause.filename is None or inside
            if (cause.errno in _BROKEN and named) or (cause.errno in _OF_FOLDER and inside):
                return cause.strerror
            continue
        if found := re.search(_BROKEN_TEXT, text) or (inside and re.search(_GONE_TEXT, text)):
            return found[0]
        if (
            isinstance(cause, TimeoutError) and "futures but timed out" in text
        ):  # Orbax's limit is 20 minutes by the clock.
            return "saving took too long, or the clock was set ahead"
        if inside and isinstance(cause, FileNotFoundError | NotADirectoryError | PermissionError):
            return text[:160]
    return ""


def _is_full(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or re.search("No space left on device|Disk quota exceeded", str(error)) is not None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, the one that caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def unique_suffix() -> str:
    """A unique suffix for temporary files."""
    return f".{uuid.uuid4().hex[:12]}"


def read_npz(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file. Raises UserError if it is no .npz, corrupted, or needs pickle, which can run code."""
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            if others := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
                raise ValueError(f"{others[0]!r} is not an array")
            return found
    except Exception as error:  # Corrupted input raises many types: those of zipfile, zlib and numpy, MemoryError.
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path} cannot be read: {reason_of(error, path)}") from error
        # NumPy's message for a file that is not an archive advises to allow pickle.
        reason = "" if "pickle" in str(error) or isinstance(error, AttributeError | TypeError) else f": {error!s:.160}"
        raise UserError(f"{path} is not an .npz of arrays, such as numpy.savez writes{reason}") from error


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` is in an object store, whose files cannot be appended to."""
    return "://" in str(path)


class OSLock:
    """A lock between processes of one user on one machine. The kernel releases it when the process dies."""

    def __init__(self, name: str):
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        self._path = pathlib.Path(tempfile.gettempdir(), f"biggan_jax.{os.getuid()}.{digest}.lock")
        self._file: IO | None = None
        self._acquired, self.id = False, ""

    def acquire(self) -> bool:
        """Try once to acquire the lock. Returns whether this object holds it."""
        if self._file is None:
            self._file = open(self._path, "a")  # noqa: SIM115
            stat, boot = os.fstat(self._file.fileno()), pathlib.Path("/proc/sys/kernel/random/boot_id")
            machine = boot.read_text().strip() if boot.exists() else f"{uuid.getnode():x}"
            # Equal in two processes only if they try to lock the same file on the same machine.
            self.id = f"{machine}:{stat.st_dev}:{stat.st_ino}"
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._acquired = True
        return self._acquired

    def release(self) -> None:
        if self._acquired:  # A process that still waits for the deleted file has another `id` than any new one.
            self._path.unlink(missing_ok=True)
        if self._file:
            self._file.close()
        self._file, self._acquired = None, False
