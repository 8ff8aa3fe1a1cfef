"""Owns what is worked out once and kept: converted weights, fitted classifiers, statistics of real data. Must not know what they mean.

Everything is named by what it was made of, so nothing in it is ever stale; the whole folder may be deleted at any time.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable

import numpy as np
from etils import epath

from biggan_jax.files import read_npz, whole
from biggan_jax.types import UserError

Arrays = dict[str, np.ndarray]


def folder() -> epath.Path:
    """$BIGGAN_JAX_CACHE (may be gs://...), else biggan_jax in the user's cache folder."""
    own = os.environ.get("BIGGAN_JAX_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return epath.Path(own) if own else epath.Path(base).expanduser() / "biggan_jax"


def cached(kind: str, made_of: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of `kind` made of what `made_of` says, read if they were made before, else made and kept."""
    name = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    path = folder() / kind / f"{name}.npz"
    if path.exists():
        with contextlib.suppress(UserError):  # Damaged: as good as not there.
            return read_npz(path)
    arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, by=f".{os.getpid()}") as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)
    return arrays


def digest(arrays: Arrays) -> str:
    """sha256 of arrays with their names, types and shapes: equal for equal content alone."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()
