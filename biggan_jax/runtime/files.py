"""Owns files, on disks and in object stores: written whole or not at all, arrays read without pickle. Must not know what they mean."""

import contextlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterator

import numpy as np
from etils import epath

from biggan_jax.types import UserError


@contextlib.contextmanager
def atomic_write(path: epath.PathLike, by: str = "") -> Iterator[str]:
    """A local file to write, which becomes `path` when it is whole: renamed, or, to an object store, uploaded.

    by: tells processes apart that may write the same file at the same time.
    """
    path = epath.Path(path)
    if is_remote(path):
        with tempfile.TemporaryDirectory() as scratch:
            yield f"{scratch}/file"
            epath.Path(f"{scratch}/file").copy(path, overwrite=True)
        return
    unfinished = pathlib.Path(path.parent) / f".{path.name}{by}.tmp"
    try:
        yield str(unfinished)
        with open(unfinished, "rb") as file:
            os.fsync(file)  # Else, after a crash of the machine, its name may be there without its bytes.
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: epath.PathLike, text: str, by: str = "") -> None:
    """Writes `text` to `path`, whole or not at all. by: see `whole`."""
    with atomic_write(path, by) as unfinished:
        pathlib.Path(unfinished).write_text(text)


@contextlib.contextmanager
def user_errors(folder: epath.PathLike, what: str) -> Iterator[None]:
    """Makes whatever the file system says of the folder a UserError, which names it as `what`, such as workdir."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Each file system has its own: OSError, TensorFlow's, gcsfs's, a missing package's.
        hint = "; for gs:// folders pip install 'biggan-jax[gcs]'" if isinstance(error, ImportError) else ""
        raise UserError(f"{what} {folder} cannot be used: {error}{hint}") from error


def unique_suffix() -> str:
    """A `by` that no other process has, on this machine or another."""
    return f".{uuid.uuid4().hex[:12]}"


def read_npz(path: epath.PathLike) -> dict[str, np.ndarray]:
    """All arrays of an .npz. Raises UserError if it is none, is damaged, or holds what only pickle could read, which runs code."""
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # Damaged input raises nearly anything: zipfile's, zlib's, numpy's, want of memory.
        # numpy's own words for what is no archive are advice to allow pickle.
        reason = "" if "pickle" in str(error) or isinstance(error, AttributeError | TypeError) else f": {error!s:.160}"
        raise UserError(f"{path} is not an .npz of arrays{reason}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path} is not an .npz of arrays: {name!r} is none")
    return found


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` is in an object store, where nothing can be appended to."""
    return "://" in str(path)
