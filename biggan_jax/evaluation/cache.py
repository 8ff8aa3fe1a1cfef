"""Owns what is worked out once and kept: converted weights, fitted classifiers, statistics of real data. Must not know what they mean.

Everything is named by what it was made of, so nothing in it is ever stale; the whole folder may be deleted at any time.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax.runtime.distributed import all_agree
from biggan_jax.runtime.files import atomic_write, read_npz, unique_suffix
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def folder() -> epath.Path:
    """$BIGGAN_JAX_CACHE (may be gs://...), else biggan_jax in the user's cache folder."""
    own = os.environ.get("BIGGAN_JAX_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return epath.Path(own).expanduser() if own else epath.Path(base).expanduser() / "biggan_jax"


def cached(kind: str, made_of: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of `kind` made of what `made_of` says, read if they were made before, else made and kept.

    Where several processes work together, all call it: they make the arrays together unless each of them has them, and all
    go on with those of the first.
    """
    name = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    path = folder() / kind / f"{name}.npz"
    arrays = None
    with contextlib.suppress(UserError):  # Damaged, or not there.
        arrays = read_npz(path)
    if not all_agree(arrays is not None) or arrays is None:
        arrays = make()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, suffix=unique_suffix()) as unfinished, open(unfinished, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle in their way.
        except OSError as error:
            logger.warning("%s cannot be kept for another time: %s", path, error)
    return arrays if jax.process_count() == 1 else _of_the_first(arrays)


def _of_the_first(arrays: Arrays) -> Arrays:
    """The first process's arrays, bit for bit: as bytes, since jax would round float64."""
    as_bytes = {name: np.frombuffer(array.tobytes(), np.uint8) for name, array in arrays.items()}
    agreed = multihost_utils.broadcast_one_to_all(as_bytes)
    return {
        name: np.frombuffer(np.asarray(agreed[name]).tobytes(), array.dtype).reshape(array.shape)
        for name, array in arrays.items()
    }


def digest(arrays: Arrays) -> str:
    """sha256 of arrays with their names, types and shapes: equal for equal content alone."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()
