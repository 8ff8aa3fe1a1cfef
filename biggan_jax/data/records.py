"""Owns reading one example of a set that TFDS, or `prepare`, laid down as ArrayRecord. Must not know in which order.

No TensorFlow: examples are parsed by their protocol buffer, pictures decoded here.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import math
import resource
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_data_source as array_record
from etils import epath

from biggan_jax.data import picture
from biggan_jax.data.dataset import Reading
from biggan_jax.data.picture import UnreadableError
from biggan_jax.types import UserError

IN_A_ROW = 100
"""So many records after one another that cannot be read are a broken set, not a broken picture."""


def digest(stored: bytes) -> int:
    """64 bits by which equal files are found."""
    return int.from_bytes(hashlib.blake2b(stored, digest_size=8).digest(), "little")


def _allow_open_files(shards: int) -> None:
    """Each shard stays open, and 1,024 files are what most systems begin with. Raises UserError if they cannot be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = shards + 512
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UserError(
            f"{shards} shards need {wanted} open files, and this system allows {hard}; raise it (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@functools.cache
def example_type() -> Any:
    """TensorFlow's Example, which TFDS carries along: imported late, since that takes a second."""
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


@dataclasses.dataclass(frozen=True)
class Fields:
    """Where in an example the picture, its label and its name are; `shape` if pixels are stored as they are."""

    image: str
    label: str
    name: str | None
    shape: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Records:
    """Images by number from shards, decoded when they are asked for, in threads: the decoders release Python's lock.

    files: instructions with filename, skip, take and examples_in_shard, as TFDS gives them. resize: as in
    config `data.resize`. draft: lets the JPEG decoder shrink first. checked: what is known of all of it.
    """

    files: tuple[Any, ...]
    fields: Fields
    num_classes: int
    resolution: int
    resize: str = "area"
    draft: bool = False
    threads: int = 1
    split: str = "train"
    class_names: tuple[str, ...] = ()
    checked: dict[str, Any] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, numbers: np.ndarray, across: np.ndarray) -> Reading:
        images = np.empty((len(numbers), self.resolution, self.resolution, 3), np.uint8)
        labels = np.empty(len(numbers), np.int32)
        unreadable: list[str] = []

        def fill(rows: np.ndarray) -> None:
            for row in rows.tolist():
                images[row], labels[row] = self._example(int(numbers[row]), float(across[row]), unreadable.append)

        # More portions than threads, so that none waits long for the last one.
        list(self._pool.map(fill, np.array_split(np.arange(len(numbers)), min(len(numbers), 4 * self.threads))))
        return Reading(images, labels, tuple(sorted(unreadable)))

    def examine(self, numbers: Sequence[int]) -> dict[str, Any]:
        """What `check.summary` wants to know of those records."""
        rows, unreadable = [], []

        def one(number: int) -> None:
            example = None
            try:
                example = self.example(number)
                height, width, _ = self.pixels(example).shape
                stored = example.features.feature[self.fields.image].bytes_list.value[0]
                rows.append((number, self.label(example), (width, height), digest(stored), self.name(number, example)))
            except UnreadableError as error:
                unreadable.append(f"{self.name(number, example)}: {error}")

        numbers = np.asarray(numbers)
        for start in range(0, len(numbers), 4096):  # In portions: a pool takes in at once all that it is given.
            list(self._pool.map(one, numbers[start : start + 4096].tolist()))
        _, labels, sizes, digests, files = zip(*sorted(rows), strict=True) if rows else ((),) * 5
        return {
            "labels": labels,
            "sizes": sizes,
            "digests": digests,
            "files": lambda i: files[i],
            "unreadable": unreadable,
        }

    def example(self, number: int) -> Any:
        """The example as it is stored. Raises UserError if its shard is gone, UnreadableError if it is damaged."""
        try:
            stored = self._records[number]
        except Exception as error:  # The reader has no errors of its own.
            why = " ".join(str(error).split())[:160]
            if not epath.Path(self.place(number)[0]).exists():
                raise UserError(f"the shard {self.place(number)[0]} is missing") from error
            # Only what is damaged for good may be replaced; what may pass (a full table of files, a network) would make
            # the order hang on more than the position.
            if why.startswith("Corrupted"):
                raise UnreadableError(why) from error
            raise UserError(f"{self.name(number)} cannot be read: {why}") from error
        try:
            return example_type().FromString(stored)
        except Exception as error:
            raise UnreadableError(f"no example: {error}") from error

    def label(self, example: Any) -> int:
        found = example.features.feature[self.fields.label].int64_list.value
        if len(found) != 1 or not 0 <= found[0] < self.num_classes:
            raise UnreadableError(f"label {list(found)} is not one of 0 to {self.num_classes - 1}")
        return found[0]

    def pixels(self, example: Any) -> np.ndarray:
        stored = example.features.feature[self.fields.image].bytes_list.value
        if len(stored) != 1:
            raise UnreadableError("it holds no picture")
        if self.fields.shape:
            if len(stored[0]) != math.prod(self.fields.shape):
                raise UnreadableError(f"{len(stored[0])} bytes are not a picture of {self.fields.shape}")
            return np.frombuffer(stored[0], np.uint8).reshape(self.fields.shape)
        return picture.decode(stored[0], at_least=self.resolution if self.draft else 0)

    def place(self, number: int) -> tuple[str, int]:
        """The shard that a record is in, and which of it."""
        shard = int(np.searchsorted(self._ends, number, side="right"))
        file = self.files[shard]
        return file.filename, file.skip + number - int(self._ends[shard] - file.take)

    def name(self, number: int, example: Any = None) -> str:
        """What to call a record to people."""
        shard, record = self.place(number)
        stored = example.features.feature[self.fields.name].bytes_list.value if example and self.fields.name else ()
        file = f" ({stored[0].decode(errors='replace')})" if stored else ""
        return f"record {record} of {shard}{file}"

    def _example(self, number: int, across: float, complain) -> tuple[np.ndarray, int]:
        for successor in range(number, number + IN_A_ROW):
            successor, example = successor % len(self), None
            try:
                example = self.example(successor)
                label = self.label(example)
                cropped = picture.square(self.pixels(example), across)
                return picture.resize(cropped, self.resolution, self.resize), label
            except UnreadableError as error:
                # Who stands in hangs on the number alone: the same on every host, and after every resume.
                complain(f"{self.name(successor, example)}: {error}")
        raise UserError(f"{IN_A_ROW} records in a row cannot be read, the first is {self.name(number)}")

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([file.take for file in self.files])

    @functools.cached_property
    def _records(self) -> array_record.ArrayRecordDataSource:
        _allow_open_files(len(self.files))
        return array_record.ArrayRecordDataSource(self.files)

    @functools.cached_property
    def _pool(self) -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(self.threads)

    def __getstate__(self) -> dict:
        # What is open stays behind when this is sent to another process.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
