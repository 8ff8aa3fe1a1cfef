"""Files on disks and in object stores: atomic writes, locks, arrays read without pickle."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO

import numpy as np
from etils import epath

from biggan_jax.types import UserError


@contextlib.contextmanager
def atomic_write(path: epath.PathLike, suffix: str = "") -> Iterator[str]:
    """Yield the name of a local file to write, then move it to `path`; upload it if `path` is in an object store.

    Args:
        path: the final file. It is left as it was if an error is raised.
        suffix: see `unique_suffix`; needed if several processes may write the same file at once.
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


@contextlib.contextmanager
def user_errors(folder: epath.PathLike, what: str) -> Iterator[None]:
    """Re-raise file-system errors about `folder` as UserError. `what` names the folder, such as workdir."""
    try:
        yield
    except UserError:
        raise
    except (
        Exception
    ) as error:  # Each file system raises its own: OSError, TensorFlow's, gcsfs's, or a missing package's.
        hint = "; for gs:// folders pip install 'biggan-jax[gcs]'" if isinstance(error, ImportError) else ""
        raise UserError(f"{what} {folder} cannot be used: {error}{hint}") from error


def unique_suffix() -> str:
    """A unique suffix for temporary files."""
    return f".{uuid.uuid4().hex[:12]}"


def read_npz(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file.

    Raises:
        UserError: the file is not an .npz, is corrupted, or holds objects that need pickle, which can run code.
    """
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # Corrupted input raises many types: those of zipfile, zlib and numpy, MemoryError.
        # NumPy's message for a file that is not an archive advises to allow pickle.
        reason = "" if "pickle" in str(error) or isinstance(error, AttributeError | TypeError) else f": {error!s:.160}"
        raise UserError(f"{path} is not an .npz of arrays{reason}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path} is not an .npz of arrays: {name!r} is not an array")
    return found


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` is in an object store, whose files cannot be appended to."""
    return "://" in str(path)


class OSLock:
    """A lock between processes of one user on one machine. The kernel releases it when the process dies.

    Attributes:
        id: equal in two processes only if they try to lock the same file on the same machine. Set by `acquire`.
    """

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
