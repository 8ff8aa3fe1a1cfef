"""A cache of arrays: converted weights, fitted classifiers, statistics of real data.

Entries are keyed by what they were computed from, so they never go stale. The folder may be deleted at any time.
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
    """Return $BIGGAN_JAX_CACHE (may be gs://...), else biggan_jax in the user's cache folder."""
    own = os.environ.get("BIGGAN_JAX_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return epath.Path(own).expanduser() if own else epath.Path(base).expanduser() / "biggan_jax"


def cached(kind: str, made_of: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of `kind` keyed by `made_of`: read from the cache, else made and stored.

    With several hosts, all must call it: they make the arrays together unless all have them, and use those of process 0.
    """
    name = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    path = folder() / kind / f"{name}.npz"
    arrays = None
    with contextlib.suppress(UserError):  # Missing or corrupted.
        arrays = read_npz(path)
    if not all_agree(arrays is not None) or arrays is None:
        arrays = make()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, suffix=unique_suffix()) as unfinished, open(unfinished, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
        except OSError as error:
            logger.warning("%s cannot be cached: %s", path, error)
    return arrays if jax.process_count() == 1 else _broadcast(arrays)


def _broadcast(arrays: Arrays) -> Arrays:
    """Broadcast the arrays of process 0, as bytes, because jax would convert float64 to float32."""
    as_bytes = {name: np.frombuffer(array.tobytes(), np.uint8) for name, array in arrays.items()}
    agreed = multihost_utils.broadcast_one_to_all(as_bytes)
    return {
        name: np.frombuffer(np.asarray(agreed[name]).tobytes(), array.dtype).reshape(array.shape)
        for name, array in arrays.items()
    }


def digest(arrays: Arrays) -> str:
    """Return the sha256 of arrays with their names, types and shapes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()
