"""Read examples by number from ArrayRecord shards that TFDS or `prepare` wrote, without TensorFlow."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import resource
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from array_record.python import array_record_data_source as array_record
from etils import epath

from biggan_jax.data import captions, exact, picture
from biggan_jax.data.dataset import Reading
from biggan_jax.data.stats import NEARLY_CONSTANT
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

CAPTIONS = "captions"  # The feature with a picture's captions.
MAX_CONSECUTIVE = 100  # More unreadable records in a row mean that the set is broken, not single pictures.


def digest(stored: bytes) -> int:
    """Hash a file to 64 bits, to find equal files."""
    return int.from_bytes(hashlib.blake2b(stored, digest_size=8).digest(), "little")


@functools.cache
def example_type() -> Any:
    """Return TensorFlow's Example message, which TFDS ships. Imported late, since the import takes a second."""
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


def condition_of(features: Any, keys: Iterable[str]) -> np.ndarray:
    """Return the numbers of these features of an example one after another, float32 [k]; True is 1."""
    each = [features[key] for key in keys]
    return np.array([value for one in each for value in (*one.float_list.value, *one.int64_list.value)], np.float32)


@dataclasses.dataclass(frozen=True)
class Fields:
    """Names of an example's picture, label ("": none) and file name; `shape` if the pixels are stored without encoding.

    dtype: of the pixels, or of vectors. channels: of pictures; 0: vectors. condition: the length of each picture's condition,
    which the features of condition_keys make up. several: conditions of each picture, if more than one. captions: whether there are
    some.
    """

    image: str
    label: str
    name: str | None
    shape: tuple[int, ...] | None
    dtype: str = dataclasses.field(default="uint8", repr=False)
    channels: int = dataclasses.field(default=3, repr=False)
    condition: int = dataclasses.field(default=0, repr=False)
    condition_keys: tuple[str, ...] = dataclasses.field(default=("condition",), repr=False)
    several: int = dataclasses.field(default=0, repr=False)
    captions: bool = dataclasses.field(default=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Records:
    """A source that reads shards and decodes in threads: the decoders release the GIL.

    files: instructions with filename, skip, take and examples_in_shard, as TFDS gives them. shape: (height, width, channels),
    or (n,). resize, draft: as in config.data. checked: the summary of the whole split, if known. first: of pairs, the channels
    of the first picture; 0: no pairs. caption_length: bytes that are read of each caption, as labels; 0: labels are other ones.
    most_captions: captions of a picture that are read.
    """

    files: tuple[Any, ...]
    fields: Fields
    num_classes: int
    shape: tuple[int, ...]
    resize: str = "area"
    draft: bool = False
    threads: int = 1
    split: str = "train"
    class_names: tuple[str, ...] = ()
    checked: dict[str, Any] | None = None
    first: int = 0
    caption_length: int = 0
    most_captions: int = 1

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def pixel_format(self) -> str:
        """Text that tells apart what the same shards may be read as. It is part of stored content hashes: keep it as it is."""
        size = self.shape[0] if self.shape == (self.shape[0], self.shape[0], 3) else self.shape
        own = self.fields
        plain = own.dtype == "uint8" and own.channels in (1, 3) and not own.condition
        more = "" if plain else f" {own.dtype} {own.channels} {own.condition}"
        if own.condition and own.condition_keys != ("condition",):
            more += f" {own.condition_keys}"
        return f"{size} {self.resize} {self.draft} {self.fields}{more}"

    @property
    def condition_dim(self) -> int:
        """Length of each image's condition; 0: none, or captions are read in its place."""
        return 0 if self.caption_length else self.fields.condition

    @property
    def channels(self) -> int:
        """Channels of a stored picture; of a pair, of both together."""
        return self.fields.channels

    @property
    def dtype(self) -> np.dtype:
        """Type of the images."""
        return np.dtype(self.fields.dtype)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what training makes of the pictures' channels and bits."""
        have, want = self.fields.channels, self.shape[-1] if len(self.shape) == 3 else 0
        found = ["grey pictures become RGB" if have == 1 else "RGB pictures become grey"] if have != want else []
        if self.fields.dtype == "uint16" and want in (1, 3):
            found.append("16 bits; sample grids show 8 of them")
        longest = (self.checked or {}).get("captions", {}).get("bytes", [0])[-1]
        if self.caption_length and longest > self.caption_length:
            found.append(
                f"captions longer than model.text_length={self.caption_length} bytes are cut; the longest has {longest}"
            )
        return tuple(found)

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray) -> Reading:
        images = np.empty((len(numbers), *self.shape), self.dtype)
        labels = np.empty(len(numbers), np.int32)
        if self.condition_dim:
            labels = np.empty((len(numbers), *self._condition_shape), np.float32)
        if self.caption_length:
            labels = np.empty((len(numbers), self.most_captions, self.caption_length), np.int32)
        unreadable: list[str] = []

        def fill(rows: np.ndarray) -> None:
            for row in rows.tolist():
                images[row], labels[row] = self._image(int(numbers[row]), float(crop_offset[row]), unreadable.append)

        # More portions than threads keep all threads busy until the end.
        list(self._pool.map(fill, np.array_split(np.arange(len(numbers)), min(len(numbers), 4 * self.threads))))
        return Reading(images, labels, tuple(sorted(unreadable)))

    @functools.cached_property
    def all_labels(self) -> np.ndarray:
        """Return the class of each record, int32 [len]; -1: it cannot be read. The first access reads the whole set."""

        def one(number: int) -> int:
            try:
                return self.label(self.example(number))
            except picture.UnreadableError:
                return -1

        logger.info("reading the labels of %s records", f"{len(self):,}")
        labels = np.empty(len(self), np.int32)
        for start in range(0, len(self), 4096):  # In portions, since a pool stores all that it is given.
            part = range(start, min(start + 4096, len(self)))
            labels[start : part.stop] = list(self._pool.map(one, part))
        return labels

    def examine(self, numbers: np.ndarray) -> dict[str, Any]:
        """Return the arguments of `stats.summary` for these records."""
        bad: list[str] = []
        flat: list[str] = []

        def one(number: int):
            example = None
            try:
                example = self.example(number)
                pixels = self.pixels(example)
                shape = pixels.shape
                if (
                    len(shape) == 3
                    and int(pixels.max()) - int(pixels.min()) <= NEARLY_CONSTANT * np.iinfo(pixels.dtype).max
                ):
                    flat.append(self.name(number, example))
                height, width = shape[:2] if len(shape) == 3 else (0, 0)
                stored = example.features.feature[self.fields.image].bytes_list.value[0]
                return self.label(example), (width, height), digest(stored), self.name(number, example)
            except picture.UnreadableError as error:
                bad.append(f"{self.name(number, example)}: {error}")

        rows: list[tuple] = []
        for start in range(0, len(numbers), 4096):  # In portions, since a pool stores all that it is given.
            rows += filter(None, self._pool.map(one, numbers[start : start + 4096].tolist()))
        labels, sizes, digests, files = zip(*rows, strict=True) if rows else ((),) * 4
        found = {"labels": labels, "sizes": sizes, "digests": digests, "unreadable": bad, "files": files.__getitem__}
        return found | {"nearly_constant": flat}

    def stored(self, numbers: np.ndarray) -> list[bytes]:
        """Return records as they are stored; those that are damaged are empty. Raises UserError if a shard is missing."""

        def one(number: int) -> bytes:
            try:
                return bytes(self._records[number])
            except Exception:  # Raise what `example` does; damage alone is no error.
                with contextlib.suppress(picture.UnreadableError):
                    self.example(number)
                return b""

        return list(self._pool.map(one, numbers.tolist()))

    def example(self, number: int) -> Any:
        """Return a stored example. Raises UserError if its shard is missing, picture.UnreadableError if it is damaged."""
        try:
            stored = self._records[number]
        except Exception as error:  # The reader has no exception types of its own.
            why = " ".join(str(error).split())[:160]
            if not epath.Path(self.place(number)[0]).exists():
                raise UserError(f"the shard {self.place(number)[0]} is missing") from error
            # Only permanent damage may be replaced. If a passing error (too many open files, a network) were, the order
            # would depend on more than the position.
            if why.startswith("Corrupted"):
                raise picture.UnreadableError(why) from error
            raise UserError(f"{self.name(number)} cannot be read: {why}") from error
        try:
            return example_type().FromString(stored)
        except Exception as error:
            raise picture.UnreadableError(f"no example: {error}") from error

    def label(self, example: Any) -> int:
        if not self.fields.label:
            return 0
        found = example.features.feature[self.fields.label].int64_list.value
        if len(found) != 1 or not 0 <= found[0] < self.num_classes:
            raise picture.UnreadableError(f"label {list(found)} is not one of 0 to {self.num_classes - 1}")
        return found[0]

    def condition(self, example: Any) -> np.ndarray:
        """Return the condition, float32 [k], or several, [K, k]."""
        found = condition_of(example.features.feature, self.fields.condition_keys)
        if found.size != math.prod(self._condition_shape) or not np.isfinite(found).all():
            raise picture.UnreadableError(f"its condition is not {math.prod(self._condition_shape)} finite numbers")
        return found.reshape(self._condition_shape)

    def texts(self, example: Any) -> np.ndarray:
        """Return the bytes of the captions, int32 [most_captions, caption_length]; see captions.encode."""
        stored = example.features.feature[CAPTIONS].bytes_list.value
        if not any(stored):
            raise picture.UnreadableError("it has no caption")
        each = [text.decode(errors="replace") for text in stored[: self.most_captions]]
        return captions.encode([*each, *[""] * (self.most_captions - len(each))], self.caption_length)

    @property
    def _condition_shape(self) -> tuple[int, ...]:
        several = (self.fields.several,) if self.fields.several else ()
        return *several, self.condition_dim

    def pixels(self, example: Any) -> np.ndarray:
        """Return the whole picture, uint8 [H, W, 3], or with the channels and type of the set; or a vector."""
        stored = example.features.feature[self.fields.image].bytes_list.value
        if len(stored) != 1:
            raise picture.UnreadableError("it holds no picture")
        if self.fields.shape:
            if len(stored[0]) != math.prod(self.fields.shape) * self.dtype.itemsize:
                raise picture.UnreadableError(f"{len(stored[0])} bytes are not a picture of {self.fields.shape}")
            pixels = np.frombuffer(stored[0], self.dtype).reshape(self.fields.shape)
            return np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2:] == (1,) else pixels
        if self.fields.dtype != "uint8":
            return exact.read(stored[0]).image
        return picture.decode(stored[0], at_least=max(self.shape[:2]) if self.draft else 0)

    def place(self, number: int) -> tuple[str, int]:
        """Return a record's shard and its number in that shard."""
        shard = int(np.searchsorted(self._ends, number, side="right"))
        file = self.files[shard]
        return file.filename, file.skip + number - int(self._ends[shard] - file.take)

    def name(self, number: int, example: Any = None) -> str:
        """Return a record's name for messages."""
        shard, record = self.place(number)
        stored = example.features.feature[self.fields.name].bytes_list.value if example and self.fields.name else ()
        file = f" ({stored[0].decode(errors='replace')})" if stored else ""
        return f"record {record} of {shard}{file}"

    def _image(self, number: int, crop_offset: float, report: Callable[[str], None]) -> tuple[np.ndarray, Any]:
        """Return the image and label of a record, or of the next readable one."""
        for replacement in range(number, number + MAX_CONSECUTIVE):
            # The replacement depends only on the number: it is the same on all hosts and after a resume.
            replacement, example = replacement % len(self), None
            try:
                example = self.example(replacement)
                label = self.texts(example) if self.caption_length else self.label(example)
                label = self.condition(example) if self.condition_dim else label
                pixels = self.pixels(example)
                if len(self.shape) == 1:
                    return pixels, label
                cropped = picture.crop(pixels, self.shape, crop_offset)
                image = picture.resize(cropped, self.shape, self.resize)
                return self._channels(image), label
            except picture.UnreadableError as error:
                report(f"{self.name(replacement, example)}: {error}")
        raise UserError(f"{MAX_CONSECUTIVE} records in a row cannot be read, the first is {self.name(number)}")

    def _channels(self, image: np.ndarray) -> np.ndarray:
        """Convert between grey and RGB, as the model wants it."""
        if self.shape[2] == 1 and image.shape[2] == 3:
            return picture.to_gray(image)
        return np.broadcast_to(image, (*image.shape[:2], self.shape[2])) if image.shape[2] == 1 else image

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([file.take for file in self.files])

    @functools.cached_property
    def _records(self) -> array_record.ArrayRecordDataSource:
        # Each shard stays open, and most systems start with a limit of 1,024 open files; RLIM_INFINITY is -1.
        (soft, hard), wanted = resource.getrlimit(resource.RLIMIT_NOFILE), len(self.files) + 512
        if 0 <= hard < wanted:
            raise UserError(f"{wanted} files must be open, and this system allows {hard}; raise it (ulimit -Hn)")
        if 0 <= soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return array_record.ArrayRecordDataSource(self.files)

    @functools.cached_property
    def _pool(self) -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(self.threads)

    def __getstate__(self) -> dict:
        # Open files and threads are not sent to other processes.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
