"""Owns by what a data set is known: a hash of what it holds. Must not know what is worked out from it."""

import hashlib

import jax
import numpy as np
from etils import epath

from biggan_jax.data.dataset import Images, Source
from biggan_jax.data.records import Records
from biggan_jax.evaluation.cache import cached, digest
from biggan_jax.runtime.progress import track


def digest_of(source: Source) -> str:
    """Hex digits, equal for sources that read the same images with the same labels: of the arrays, or of the shards' bytes."""
    if isinstance(source, Images):
        return digest({"images": source.images, "labels": source.labels})
    assert isinstance(source, Records)
    total = hashlib.sha256(f"{source.pixel_format}\n".encode())
    for file in track(source.files, "reading shards"):
        total.update(f"{file.skip} {file.take} {_of_file(epath.Path(file.filename))}\n".encode())
    return total.hexdigest()


def digest_of_tree(tree) -> str:
    """Of nested dicts of arrays."""
    return digest({jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)})


def _of_file(path: epath.Path) -> str:
    """sha256 of a file: a file of the same name, length and time is not read again."""

    def read() -> dict[str, np.ndarray]:
        with path.open("rb") as file:
            return {"sha256": np.frombuffer(hashlib.file_digest(file, "sha256").digest(), np.uint8)}

    stat = path.stat()
    return cached("content", f"{path} {stat.length} {stat.mtime}", read)["sha256"].tobytes().hex()
