"""Content hashes of data sets and weights."""

import hashlib

import jax
import numpy as np
from etils import epath

from biggan_jax.data.dataset import Images, Source
from biggan_jax.data.records import Records
from biggan_jax.evaluation.cache import cached, digest
from biggan_jax.runtime.progress import track


def of_source(source: Source) -> str:
    """Hash a source: equal for sources that read the same images with the same labels from the same arrays or shards."""
    if isinstance(source, Images):
        return digest({"images": source.images, "labels": source.labels})
    assert isinstance(source, Records)
    total = hashlib.sha256(f"{source.pixel_format}\n".encode())
    for file in track(source.files, "reading shards"):
        total.update(f"{file.skip} {file.take} {_of_file(epath.Path(file.filename))}\n".encode())
    return total.hexdigest()


def of_tree(tree) -> str:
    """Hash nested dicts of arrays."""
    return digest({jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)})


def _of_file(path: epath.Path) -> str:
    """Return a file's sha256, cached by its path, length and modification time."""

    def read() -> dict[str, np.ndarray]:
        with path.open("rb") as file:
            return {"sha256": np.frombuffer(hashlib.file_digest(file, "sha256").digest(), np.uint8)}

    stat = path.stat()
    return cached("content", f"{path} {stat.length} {stat.mtime}", read)["sha256"].tobytes().hex()
