"""Owns writing files whole or not at all, on disks and in object stores. Must not know what is in them."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from etils import epath


@contextlib.contextmanager
def whole(path: epath.PathLike, by: str = "") -> Iterator[str]:
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


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with whole(path) as unfinished:
        pathlib.Path(unfinished).write_text(text)


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` is in an object store, where nothing can be appended to."""
    return "://" in str(path)
