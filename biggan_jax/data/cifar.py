"""Read the public archives of CIFAR-10 and CIFAR-100, binary or pickled by Python, whose hash is checked."""

import dataclasses
import functools
import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.data import exact
from biggan_jax.data.raw import Corpus, Item
from biggan_jax.types import UserError

SOURCE = "https://www.cs.toronto.edu/~kriz"
SIDE, PIXELS = 32, 3 * 32 * 32
EACH = 10_000  # Pictures of one shard.


@dataclasses.dataclass(frozen=True)
class Archive:
    """One archive. train, test: its files. names: the file of the class names. labels: the bytes before a binary picture."""

    file: str
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: int = 0  # 0: pickled.


BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
ARCHIVES = {
    "cifar10": (
        Archive(
            "cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "cifar-10-batches-bin",
            tuple(f"{name}.bin" for name in BATCHES),
            "test_batch.bin",
            "batches.meta.txt",
            labels=1,
        ),
        Archive(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            "cifar-10-batches-py",
            BATCHES,
            "test_batch",
            "batches.meta",
        ),
    ),
    "cifar100": (
        Archive(
            "cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            "cifar-100-binary",
            ("train.bin",),
            "test.bin",
            "{}_label_names.txt",
            labels=2,
        ),
        Archive(
            "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            "cifar-100-python",
            ("train",),
            "test",
            "meta",
        ),
    ),
}
LABELS = {"cifar10": ("",), "cifar100": ("fine", "coarse")}
"""Labels that a picture has, the default first."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """The pictures [start, stop) of one file of an archive."""

    path: str
    archive: Archive
    member: str
    label: str
    start: int
    stop: int

    def __iter__(self) -> Iterator[Item]:
        images, labels = _read(self.path, self.archive, self.member, self.label)
        for number in range(self.start, min(self.stop, len(images))):
            yield Item(f"{self.member} {number}", int(labels[number]), exact.png(images[number]))


def corpus(kind: str, path: epath.Path, label: str = "") -> Corpus:
    """List the pictures of cifar10 or cifar100: splits train and test.

    path: the archive, or a folder that has it. label: of cifar100, fine (default) or coarse. Raises UserError if the file is
    missing, or not one of the public archives by its SHA-256.
    """
    if (label or LABELS[kind][0]) not in LABELS[kind]:
        raise UserError(
            f"--label_key={label} is not one of the labels of {kind}: {', '.join(filter(None, LABELS[kind]))}"
        )
    label = label or LABELS[kind][0]
    path, archive = _find(kind, epath.Path(path))
    names = _names(str(path), archive, label)
    splits = {}
    for split, members in (("train", archive.train), ("test", (archive.test,))):
        counts = {name: len(_read(str(path), archive, name, label)[0]) for name in members}
        splits[split] = [
            Slice(str(path), archive, name, label, start, start + EACH)
            for name, count in counts.items()
            for start in range(0, count, EACH)
        ]
    return Corpus(names, splits)


def _find(kind: str, path: epath.Path) -> tuple[epath.Path, Archive]:
    archives = ARCHIVES[kind]
    which = " or ".join(f"{SOURCE}/{archive.file}" for archive in archives)
    if path.is_dir():
        found = next((path / archive.file for archive in archives if (path / archive.file).exists()), None)
        if found is None:
            raise UserError(f"--in={path} has no archive of {kind}; download {which}, and do not extract it")
        path = found
    if not path.exists():
        raise UserError(f"--in={path} is missing; download {which}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    for archive in archives:
        if archive.sha256 == sha256:
            return path, archive
    raise UserError(f"--in={path} is not a public archive of {kind}, or not whole (SHA-256 {sha256}); download {which}")


def _member(path: str, archive: Archive, name: str) -> bytes:
    with epath.Path(path).open("rb") as file, tarfile.open(fileobj=file) as tar:
        found = tar.extractfile(f"{archive.folder}/{name}")
        assert found is not None
        return found.read()


@functools.lru_cache(1)  # The slices of a file follow one another.
def _read(path: str, archive: Archive, name: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [N, 32, 32, 3], and labels [N] of one file."""
    content = _member(path, archive, name)
    if archive.labels:
        records = np.frombuffer(content, np.uint8).reshape(-1, archive.labels + PIXELS)
        labels, pixels = records[:, 0 if label == "coarse" else archive.labels - 1], records[:, archive.labels :]
    else:
        stored = unpickle(content)
        labels, pixels = np.array(stored[f"{label}_labels".lstrip("_").encode()]), stored[b"data"]
    return np.ascontiguousarray(pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels


def _names(path: str, archive: Archive, label: str) -> tuple[str, ...]:
    content = _member(path, archive, archive.names.format(label))
    if archive.labels:
        return tuple(content.decode().split())
    return tuple(name.decode() for name in unpickle(content)[f"{label}_label_names".lstrip("_").encode()])


class _Array:
    """Stands in for a NumPy array until its state is known."""

    def __init__(self, *_: Any):
        self.values = np.zeros(0, np.uint8)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.name not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {dtype.name!r}")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Type:
    """Stands in for a NumPy type."""

    def __init__(self, name: Any, *_: Any):
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        pass


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
}


class _Unpickler(pickle.Unpickler):
    """Reads dicts, lists, texts, numbers and arrays of bytes. Whatever else a pickle names is neither imported nor called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]


def unpickle(content: bytes) -> dict[bytes, Any]:
    """Read a batch that Python 2 has pickled, without running code: only arrays of bytes are made. Raises UserError."""
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        return {key: value.values if isinstance(value, _Array) else value for key, value in found.items()}
    except Exception as error:  # Damaged pickles raise many types.
        raise UserError(f"not a batch of CIFAR: {' '.join(str(error).split())[:100]}") from error
