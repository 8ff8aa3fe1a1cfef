"""A cache of arrays keyed by what they were computed from, so that no entry is stale; and the content hashes in its keys.

It holds converted weights, fitted classifiers and statistics of real data. The folder may be deleted at any time.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax.data.dataset import Images, Source
from biggan_jax.data.domains import SideBySide
from biggan_jax.data.records import Records
from biggan_jax.runtime.distributed import all_agree
from biggan_jax.runtime.files import atomic_write, cache_folder, read_npz, unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def folder() -> epath.Path:
    """Return the folder of this package's caches, local or gs://."""
    return cache_folder()


def cached(kind: str, made_of: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of `kind` keyed by `made_of`: read from the cache, else made and stored.

    With several hosts, all must call it: they make the arrays together unless all have them, and use those of process 0.
    """
    path = folder() / kind / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.npz"
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
    if jax.process_count() == 1:
        return arrays
    # As bytes, because jax would convert float64 to float32.
    as_bytes = {name: np.frombuffer(array.tobytes(), np.uint8) for name, array in arrays.items()}
    agreed = multihost_utils.broadcast_one_to_all(as_bytes)
    of_bytes = lambda name, like: np.frombuffer(np.asarray(agreed[name]).tobytes(), like.dtype).reshape(like.shape)
    return {name: of_bytes(name, array) for name, array in arrays.items()}


def hash_of_arrays(arrays: Arrays) -> str:
    """Return the sha256 of arrays with their names, types and shapes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()


def hash_of_tree(tree) -> str:
    """Return the sha256 of nested dicts of arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return hash_of_arrays({jax.tree_util.keystr(path): np.asarray(x) for path, x in leaves})


def hash_of_file(path: epath.Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_source(source: Source) -> str:
    """Hash a source: equal for sources that read the same images with the same labels from the same arrays or shards."""
    if isinstance(source, Images):
        return hash_of_arrays({"images": source.images, "labels": source.labels})
    if isinstance(source, SideBySide):
        return hashlib.sha256(f"{hash_of_source(source.pairs)} side by side {source.size}".encode()).hexdigest()
    if isinstance(content := getattr(source, "content", None), str):  # A folder of pictures, hashed when it was opened.
        return content
    assert isinstance(source, Records)
    total = hashlib.sha256(f"{source.pixel_format}\n".encode())
    for file in track(source.files, "reading shards"):
        path = epath.Path(file.filename)
        stat = path.stat()
        make = lambda path=path: {"sha256": np.frombuffer(bytes.fromhex(hash_of_file(path)), np.uint8)}
        content = cached("content", f"{path} {stat.length} {stat.mtime}", make)["sha256"].tobytes().hex()
        total.update(f"{file.skip} {file.take} {content}\n".encode())
    return total.hexdigest()
