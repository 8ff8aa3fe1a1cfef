"""Write a prepared set: ArrayRecord shards, and the metadata by which TFDS finds them.

Shards and, until the set is complete, their statistics are written atomically: an interrupted command resumes with the others.
"""

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.data import exact, picture, stats
from biggan_jax.data.raw import Corpus, Examples, Item, Part, Shapes
from biggan_jax.data.records import digest, example_type
from biggan_jax.data.tfds import INFO, checked_of
from biggan_jax.runtime.files import atomic_write, is_remote, write_text
from biggan_jax.types import UserError

WORK = ".prepare"  # The folder of a set's temporary files, in the set's own.


class Stored(NamedTuple):
    """What is stored of a picture: its bytes, original (width, height), what was converted, and its range if it is kept.

    A vector has the size (0, 0).
    """

    data: bytes
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    range: tuple[float, float] = (math.inf, -math.inf)


@dataclasses.dataclass(frozen=True, repr=False)
class Form:
    """How pictures are stored: as they are, or, if `size` is not 0, the central region, resized, as plain numbers.

    size: of a square, or (height, width). channels: 0: RGB of 8 bits. bits: of each channel; with `channels`, 8 or 16.
    vector: the length of vectors, float32; 0: pictures. condition: the length of each picture's condition.
    """

    size: int | tuple[int, int] = 0
    resize: str = "area"
    channels: int = 0
    bits: int = 0
    vector: int = 0
    condition: int = 0

    def __call__(self, encoded: bytes) -> Stored:
        """Return what to store. Raises picture.UnreadableError, and exact.ChannelsError for another number of channels."""
        if self.vector:
            values = exact.array(encoded)
            return Stored(values.tobytes(), (0, 0), (), (float(values.min()), float(values.max())))
        if self.channels:
            return self._exactly(encoded)
        if self.size:
            pixels = picture.decode(encoded, upright=True)
            small = picture.resize(picture.crop(pixels, self.shape), self.shape, self.resize)
            return Stored(np.ascontiguousarray(small).tobytes(), pixels.shape[1::-1], exact.conversions(encoded))
        upright = Image.fromarray(picture.decode(encoded, upright=True))
        notes = exact.conversions(encoded)
        with picture.opened(encoded) as image:
            # Decoding the file as it is gives the intended pixels if it is opaque, of 8 bits, and upright by its EXIF tag.
            plain = image.mode in ("RGB", "L") and "transparency" not in image.info
            if image.format in ("JPEG", "PNG") and plain and image.getexif().get(0x0112, 1) == 1:
                return Stored(encoded, upright.size, notes)
        lossless = io.BytesIO()
        upright.save(lossless, "PNG")
        return Stored(lossless.getvalue(), upright.size, notes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is stored as plain numbers: (height, width, channels), or (n,) for vectors."""
        if self.vector:
            return (self.vector,)
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return *size, self.channels or 3

    @property
    def dtype(self) -> str:
        return "float32" if self.vector else "uint16" if self.bits == 16 else "uint8"

    def described(self) -> dict[str, Any]:
        """Return the fields as JSON, those after the first two only if they are set."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if name in ("size", "resize") or value}

    def __repr__(self) -> str:  # Part of the fingerprints of sets.
        return f"Form({', '.join(f'{name}={value!r}' for name, value in self.described().items())})"

    def _exactly(self, encoded: bytes) -> Stored:
        read = exact.read(encoded)
        found = exact.fitted(read, self.channels, self.bits)
        size = read.image.shape[1], read.image.shape[0]
        kept = found.image
        if self.size:
            kept = picture.resize(picture.crop(kept, self.shape), self.shape, self.resize)
        data = np.ascontiguousarray(kept).tobytes() if self.size else exact.png(kept)
        return Stored(data, size, found.notes, (int(kept.min()), int(kept.max())))


def size_of(text: str) -> int | tuple[int, int]:
    """Parse --size: N for squares, HxW, or 0. Raises UserError.

    >>> size_of("96x128")
    (96, 128)
    """
    sides = tuple(int(side) for side in text.split("x") if side.isdecimal() and len(side) < 5)
    if len(sides) != text.count("x") + 1 or len(sides) > 2 or max(sides) > 4096 or (len(sides) == 2 and not min(sides)):
        raise UserError(f"--size={text} is no number of pixels up to 4096, and no HxW, such as 96x128")
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def form_of_arrays(form: Form, shapes: Shapes, channels: bool = False, bits: int = 0) -> Form:
    """Return the form of arrays: `form`, with what it leaves open as the arrays are. channels: whether `form` says them."""
    if len(shapes.image) == 1:
        return Form(vector=shapes.image[0], condition=shapes.condition)
    height, width, _ = shapes.image
    return dataclasses.replace(
        form,
        size=form.size or (height if height == width else (height, width)),
        channels=form.channels if channels else shapes.image[2],
        bits=bits or (16 if shapes.dtype == "uint16" else 8),
        condition=shapes.condition,
    )


def prepare(corpus: Corpus, out: epath.Path, name: str, form: Form, parallel: Callable) -> dict[str, Any]:
    """Write the set, or its missing shards, and return a `stats.summary` for each split.

    parallel(function, items) is like map, in any order. Raises UserError if `out` has another set, another command is writing
    it, or no picture can be read.
    """
    out = epath.Path(out)
    plan = _fingerprint(corpus, name, form)
    if (out / INFO).exists():
        known = checked_of(out)
        if known.pop("plan", None) != plan:
            raise UserError(f"{out} has another prepared set; give another --out, or delete it")
        known.pop("form")
        return known
    jobs = {}
    for split, parts in corpus.splits.items():
        shard = f"{name}-{split}.array_record-{{:05d}}-of-{len(parts):05d}"
        jobs[split] = [Job(part, str(out), shard.format(i), form) for i, part in enumerate(parts)]
    with _claimed(out, plan):
        try:
            for _ in parallel(Job.run, [job for split in jobs.values() for job in split]):
                pass
        except UserError:
            if not any(path.name != WORK for path in out.iterdir()):
                out.rmtree()  # Nothing is lost, and other flags may be given.
            raise
        seen = {split: [job.seen() for job in made] for split, made in jobs.items()}
        found = {split: _summary(shards, corpus.class_names) for split, shards in seen.items()}
        if not any(summary["images"] for summary in found.values()):
            out.rmtree()
            why = [what for summary in found.values() for what in summary["unreadable_named"]]
            raise UserError(f"no picture can be read{': ' + why[0] if why else ''}")
        found = {split: summary for split, summary in found.items() if summary["images"]}
        stats.store(out / stats.FILE, {"form": form.described(), "plan": plan, **found})
        _describe(out, name, form, corpus.class_names, {split: seen[split] for split in found})
    (out / WORK).rmtree()
    return found


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard to write from one part."""

    part: Part
    out: str
    shard: str
    form: Form

    def run(self) -> None:
        """Write the shard and its statistics, unless they exist."""
        from array_record.python import array_record_module

        path = epath.Path(self.out) / self.shard
        if path.exists() and self._seen.exists():
            return
        rows, unreadable, size = [], [], 0
        notes: collections.Counter[str] = collections.Counter()
        low, high, conditions = math.inf, -math.inf, []
        with atomic_write(path) as made:
            # One record a group, so that an image is read without its neighbours. Pictures hardly compress further.
            writer = array_record_module.ArrayRecordWriter(made, "group_size:1,uncompressed")
            for item in self.part:
                # A file name may be any bytes; what is not valid text is replaced.
                name = (item if isinstance(item, str) else item.name).encode(errors="replace").decode()
                if isinstance(item, str):
                    unreadable.append(name)
                    continue
                try:
                    stored = self.form(item.encoded)
                except picture.UnreadableError as error:
                    unreadable.append(f"{name}: {error}")
                    continue
                except exact.ChannelsError as error:
                    raise UserError(f"{name} {error}; give another --channels, or take it out") from error
                record = _example(stored.data, item, name)
                writer.write(record)
                size += len(record)
                rows.append((item.label, stored.size, digest(item.encoded), name))
                notes.update(stored.notes)
                conditions.append(item.condition)
                low, high = min(low, stored.range[0]), max(high, stored.range[1])
            writer.close()
            labels, sizes, digests, files = zip(*rows, strict=True) if rows else ((),) * 4
            # Statistics are renamed into place before the shard: no shard is without them.
            with atomic_write(self._seen) as unfinished, open(unfinished, "wb") as file:
                seen: dict[str, Any] = {"unreadable": np.array(unreadable, str), "bytes": np.int64(size)}
                seen |= {"labels": np.array(labels, np.int32), "sizes": np.array(sizes, np.int32).reshape(-1, 2)}
                seen |= {"digests": np.array(digests, np.uint64), "files": np.array(files, str)}
                seen |= {"notes": np.array(list(notes.elements()), str), "range": np.array([low, high])}
                seen["conditions"] = np.array(conditions, np.float32).reshape(len(rows), self.form.condition)
                np.savez(file, **seen)

    def seen(self) -> Any:
        """Open the shard's statistics; arrays are loaded when they are accessed."""
        return np.load(io.BytesIO(self._seen.read_bytes()))

    @property
    def _seen(self) -> epath.Path:
        return epath.Path(self.out) / WORK / f"{self.shard}.npz"


def _example(stored: bytes, item: Item, name: str) -> bytes:
    example = example_type()()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(stored)
    feature["label"].int64_list.value.append(item.label)
    feature["file_name"].bytes_list.value.append(name.encode())
    if item.condition:
        feature["condition"].float_list.value.extend(item.condition)
    return example.SerializeToString(deterministic=True)


def _fingerprint(corpus: Corpus, name: str, form: Form) -> str:
    """Hash everything that determines a set. Parts are hashed one by one, since there may be many."""
    hashed = hashlib.sha256(repr((corpus.class_names, name, form)).encode(errors="surrogateescape"))
    for split, parts in corpus.splits.items():
        choices = [repr(part.choice) for part in parts[:1] if isinstance(part, Examples)]
        for text in (split, *choices, *map(repr, parts)):
            hashed.update(text.encode(errors="surrogateescape"))
    return hashed.hexdigest()


@contextlib.contextmanager
def _claimed(out: epath.Path, plan: str) -> Iterator[None]:
    """Mark and lock the folder for this plan. Raises UserError if it has another set, or another command's lock."""
    mark = out / WORK / "plan"
    if not mark.exists():
        if out.exists() and any(path.name != WORK for path in out.iterdir()):
            raise UserError(f"{out} is not empty; give another --out")
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_text(mark, plan)
    elif mark.read_text() != plan:
        raise UserError(f"{out} has another, incomplete set, or the pictures changed; delete it, or give another --out")
    if is_remote(out):  # An object store has no locks; two commands write the same objects twice.
        yield
        return
    with open(mark) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another command is preparing {out}") from None
        yield


def _summary(seen: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    ends = np.cumsum([len(shard["labels"]) for shard in seen])

    def file(i: int) -> str:  # Names are decoded one by one: together they would take the most memory.
        shard = int(np.searchsorted(ends, i, side="right"))
        return str(seen[shard]["files"][i - ends[shard]])

    keys = "labels", "sizes", "digests", "unreadable"
    whole: dict[str, Any] = {key: np.concatenate([shard[key] for shard in seen]) for key in keys}
    converted = collections.Counter(note for shard in seen if "notes" in shard for note in shard["notes"].tolist())
    ranges = np.array([shard["range"] for shard in seen if "range" in shard]).reshape(-1, 2)
    found = stats.summary(names=names, files=file, **whole)
    if converted:
        found["converted"] = dict(sorted(converted.items()))
    if np.isfinite(ranges).any():
        found["range"] = [float(ranges[:, 0].min()), float(ranges[:, 1].max())]
    conditions = [shard["conditions"] for shard in seen if "conditions" in shard and shard["conditions"].size]
    if conditions:
        each = np.concatenate(conditions)
        found["conditions"] = np.stack([each.min(0), each.max(0)], axis=1).tolist()
    return found


def _describe(out: epath.Path, name: str, form: Form, class_names: tuple[str, ...], seen: dict[str, list]) -> None:
    """Write TFDS's dataset_info.json and features.json, which mark the set as complete."""
    import tensorflow_datasets as tfds

    image = tfds.features.Image()
    if form.size or form.vector:
        image = tfds.features.Tensor(shape=form.shape, dtype=np.dtype(form.dtype), encoding="bytes")
    elif form.channels:
        shape = (None, None, form.channels)
        image = tfds.features.Image(shape=shape, dtype=np.dtype(form.dtype), encoding_format="png")
    label = tfds.features.ClassLabel(names=list(class_names))
    parts = {"image": image, "label": label, "file_name": tfds.features.Text()}
    if form.condition:
        parts["condition"] = tfds.features.Tensor(shape=(form.condition,), dtype=np.float32)
    features = tfds.features.FeaturesDict(parts)
    files = tfds.core.ShardedFileTemplate(out, dataset_name=name, filetype_suffix="array_record")
    splits = []
    for split, shards in seen.items():
        size = int(sum(shard["bytes"] for shard in shards))
        splits.append(tfds.core.SplitInfo(split, [len(shard["labels"]) for shard in shards], size, files))
    tfds.folder_dataset.write_metadata(
        data_dir=out, features=features, split_infos=splits, version="1.0.0", check_data=False
    )
