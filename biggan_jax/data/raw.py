"""Raw data for `prepare`: pictures in folders, examples in TFRecord or ArrayRecord files, and arrays in .npz files.

A corpus has class names and, for each split, parts: each part becomes one shard, and can be read in another process.
"""

import collections
import contextlib
import dataclasses
import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data import exact, layouts, ranges, splits, trees
from biggan_jax.data.labelled import Layout, Options
from biggan_jax.data.records import condition_of, digest, example_type
from biggan_jax.data.trees import Tree
from biggan_jax.runtime.files import matching, read_npz
from biggan_jax.runtime.text import escape
from biggan_jax.types import UserError

HEAD = 32  # Bytes of a picture that tell its format and, in a PNG, its bits.


class Item(NamedTuple):
    """One picture: its name for messages, its label, the bytes of its file, and its condition, if any.

    other: the bytes of the other picture of a pair, if that is a file of its own. captions: texts about it.
    """

    name: str
    label: int
    encoded: bytes
    condition: tuple[float, ...] = ()
    other: bytes = b""
    captions: tuple[str, ...] = ()


Part = Iterable[Item | str]  # The items of one shard. An item that cannot be read is a sentence instead.
MakePart = Callable[[tuple[str, ...], tuple[int, ...]], Part]  # Of the files of these paths, and their labels.


@dataclasses.dataclass(frozen=True)
class Corpus:
    """notes: sentences about skipped files."""

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Part]]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Files:
    """Pictures by path relative to root, with their labels. Their sizes in bytes reveal changes."""

    root: str
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Item | str]:
        for path, label in zip(self.paths, self.labels, strict=True):
            try:
                yield Item(path, label, (epath.Path(self.root) / path).read_bytes())
            except OSError as error:
                yield f"{path}: {error.strerror or error}"

    def selected(self, wanted: Callable[[bytes], bool]) -> Iterator[Item]:
        """Yield the readable pictures whose first bytes are wanted; of others, no more is read, and of JPEG nothing."""
        for path, label in zip(self.paths, self.labels, strict=True):
            if path.lower().endswith((".jpg", ".jpeg")):  # It has 8 bits; most sets are large and of JPEG.
                continue
            with contextlib.suppress(OSError), (epath.Path(self.root) / path).open("rb") as file:
                if wanted(head := file.read(HEAD)):
                    yield Item(path, label, head + file.read())


@dataclasses.dataclass(frozen=True)
class Members:
    """Pictures inside a zip, with their labels. Their checksums reveal changes."""

    path: str
    names: tuple[str, ...]
    labels: tuple[int, ...]
    checksums: tuple[int, ...]

    def __iter__(self) -> Iterator[Item | str]:
        members = trees.zip_members(self.path)
        with epath.Path(self.path).open("rb") as file, zipfile.ZipFile(file) as archive:
            for name, label in zip(self.names, self.labels, strict=True):
                try:
                    yield Item(name, label, archive.read(members[name]))
                except Exception as error:  # Damaged members raise those of zipfile and of the decompressors.
                    yield f"{name}: {' '.join(str(error).split())[:120]}"

    def selected(self, wanted: Callable[[bytes], bool]) -> Iterator[Item]:
        """Yield the readable pictures whose first bytes are wanted."""
        return (item for item in self if isinstance(item, Item) and wanted(item.encoded[:HEAD]))


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a set is made of pictures. held_out: pictures of each class for the split test.

    split: which are held out: random by `seed`, or the last by name. order: of the classes: natural sorts names that are
    numbers by these; by name otherwise. LAST and NAME are the rules of earlier versions.
    """

    held_out: int = 0
    per_part: int = 2048
    split: str = "random"
    seed: int = 0
    order: str = "natural"


def folder(root: epath.Path, rules: Rules, options: Options = Options()) -> Corpus:  # noqa: B008  Frozen.
    """List the pictures of a folder. Raises UserError if it is not clear how they are labelled: see `layouts.read`."""
    tree, part = files_of(root)
    return of_layout(layouts.read(tree, options), rules, part)


def archive(path: epath.Path, rules: Rules, options: Options = Options()) -> Corpus:  # noqa: B008  Frozen.
    """List the pictures of a zip, like those of a folder. It is not extracted."""
    tree, part = members_of(path)
    return of_layout(layouts.read(tree, options), rules, part)


def files_of(root: epath.Path) -> tuple[Tree, MakePart]:
    """List a folder; return its files, and what makes a part of some of them. Raises UserError."""
    tree = trees.of_folder(root)
    return tree, lambda paths, labels: Files(str(root), paths, labels, tuple(tree.sizes[path] for path in paths))


def members_of(path: epath.Path) -> tuple[Tree, MakePart]:
    """List a zip; return its files, and what makes a part of some of them. Raises UserError."""
    members = trees.zip_members(path)
    part = lambda names, labels: Members(str(path), names, labels, tuple(members[name].CRC for name in names))
    return trees.of_zip(path), part


def of_layout(layout: Layout, rules: Rules, part: MakePart) -> Corpus:
    """Hold pictures out, and deal each split to parts, so that each part has nearly all classes."""
    by_name = sorted({name for rows in layout.splits.values() for name in rows.values()})
    names, notes = splits.class_order(by_name, rules.order), [*layout.notes]
    if names != by_name:
        notes.append("class names are numbers, so classes are in the order of these")
    number = {name: i for i, name in enumerate(names)}
    labelled = {split: {path: number[name] for path, name in rows.items()} for split, rows in layout.splits.items()}
    if rules.held_out:
        if len(labelled) > 1:
            others = ", ".join(split for split in labelled if split != "train")
            raise UserError(f"--held_out has no effect: the pictures already have the split {others}; leave it out")
        held = splits.held_out(labelled["train"], names, rules.held_out, rules.split, rules.seed)
        labelled |= {"test": {path: label for path, label in labelled["train"].items() if path in held}}
        labelled["train"] = {path: label for path, label in labelled["train"].items() if path not in held}
    parts = {}
    for split, rows in labelled.items():
        ordered = sorted(rows, key=lambda path: (rows[path], path))
        count = -(-len(ordered) // rules.per_part)
        parts[split] = [
            part(tuple(own), tuple(rows[path] for path in own)) for own in (ordered[i::count] for i in range(count))
        ]
    return Corpus(tuple(names), parts, tuple(notes))


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of the arrays of an .npz, each as an .npy file. content: a hash of the file, which reveals changes."""

    path: str
    content: int
    numbers: tuple[int, ...]

    def __iter__(self) -> Iterator[Item | str]:
        arrays = read_npz(self.path)
        for number in self.numbers:
            file = io.BytesIO()
            np.save(file, arrays["image"][number])
            label = int(arrays["label"][number]) if "label" in arrays else 0
            condition = tuple(arrays["condition"][number].tolist()) if "condition" in arrays else ()
            yield Item(f"row {number}", label, file.getvalue(), condition)


class Shapes(NamedTuple):
    """What arrays hold: the shape and type of each image or vector, the length of its condition, and the images' values."""

    image: tuple[int, ...]
    dtype: str
    condition: int
    values: dict[str, ranges.Seen]


def arrays(path: epath.Path, rules: Rules) -> tuple[Corpus, Shapes]:
    """List the rows of an .npz with `image` and, if any, `label` int [N] or `condition` float32 [N, k].

    image: integers or floats [N, H, W, C], or vectors, float32 [N, n]. Raises UserError if the arrays have other shapes or types.
    """
    found = read_npz(path)
    if "image" not in found:
        raise UserError(f"--in={path} has the arrays {some(found)}; image is needed")
    image, count = found["image"], len(found["image"]) if found["image"].ndim else 0
    is_vector = image.ndim == 2 and image.dtype == np.float32
    if not (count and image.size and (is_vector or (image.ndim == 4 and image.dtype.kind in "iuf"))):
        wanted = "numbers [N, H, W, C], or float32 [N, n], are needed"
        raise UserError(f"--in={path}: image is {image.dtype} {list(image.shape)}; {wanted}")
    if "label" in found and "condition" in found:
        raise UserError(f"--in={path} has label and condition; a model takes one of them: leave one out")
    label, condition = (
        found.get("label", np.zeros(count, np.int64)),
        found.get("condition", np.zeros((count, 0), np.float32)),
    )
    if label.shape != (count,) or label.dtype.kind not in "iu":
        raise UserError(f"--in={path}: label is {label.dtype} {list(label.shape)}; integers [{count}] are needed")
    if label.min() < 0 or label.max() >= 2**24:
        wrong = int(np.argmax((label < 0) | (label >= 2**24)))
        raise UserError(f"--in={path}: label [{wrong}] is {label[wrong]}; labels are from 0 to {2**24 - 1:,}")
    if condition.ndim != 2 or len(condition) != count or condition.dtype != np.float32:
        raise UserError(
            f"--in={path}: condition is {condition.dtype} {list(condition.shape)}; float32 [{count}, k] is needed"
        )
    for name, values in (("image", image), ("condition", condition)):
        if bad := exact.not_finite(values):
            rows = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
            where = f"in {len(rows):,} rows, such as row {rows[0]}"
            how = "set them to numbers, as numpy.nan_to_num does, or leave these rows out"
            raise UserError(f"--in={path}: {name} has {bad} {where}; {how}")
    names = [str(i) for i in range(label.max() + 1)]
    rows = {f"{i:012d}": int(value) for i, value in enumerate(label)}  # Padded, so that they sort as numbers.
    held = splits.held_out(rows, names, rules.held_out, rules.split, rules.seed) if rules.held_out else set()
    is_held = np.array([row in held for row in rows])
    content, parts = digest(epath.Path(path).read_bytes()), {}
    for split, numbers in (("train", np.flatnonzero(~is_held)), ("test", np.flatnonzero(is_held))):
        each = -(-len(numbers) // rules.per_part)
        if each:
            parts[split] = [Rows(str(path), content, tuple(numbers[i::each].tolist())) for i in range(each)]
    values = {} if is_vector or image.dtype == np.uint8 else ranges.of_rows(image)
    return Corpus(tuple(names), parts), Shapes(image.shape[1:], image.dtype.name, condition.shape[1], values)


class Choice(NamedTuple):
    """The label to keep of several: the first one in `new`, or, with `rank`, the one of highest rank; -1 if none is kept.

    new: stored label to label of the prepared set; other labels are dropped. rank: higher for more frequent labels.
    """

    new: dict[int, int]
    rank: dict[int, int] | None

    def __call__(self, labels: Sequence[int]) -> int:
        kept = [label for label in labels if label in self.new]
        if not kept:
            return -1
        return self.new[max(kept, key=self.rank.__getitem__) if self.rank else kept[0]]


@dataclasses.dataclass(frozen=True)
class Examples:
    """One file of examples, TFRecord or ArrayRecord according to its name; examples without a kept label are left out.

    label: "" for a set without labels. condition: the features of the condition.
    """

    path: str
    image: str
    label: str
    name: str | None = None
    choice: Choice | None = dataclasses.field(default=None, repr=False)
    condition: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def labels(self) -> collections.Counter:
        """Count each label."""
        return collections.Counter(label for f, _ in self._features() if f for label in f[self.label].int64_list.value)

    def __iter__(self) -> Iterator[Item | str]:
        for features, where in self._features():
            if features is None:
                yield f"{where}: no example"
                continue
            stored = features[self.image].bytes_list.value if self.image in features else []
            if len(stored) != 1:
                yield f"{where}: no picture in {self.image!r}, only {some(sorted(features))}"
                continue
            labels = features[self.label].int64_list.value if self.label else [0]
            label = self.choice(labels) if self.choice else labels[0] if len(labels) == 1 else -1
            condition = tuple(condition_of(features, self.condition).tolist())
            if label >= 0:  # TFDS stores -1 for labels that are not public.
                names = features[self.name].bytes_list.value if self.name else []
                yield Item(names[0].decode(errors="replace") if names else where, label, stored[0], condition)

    def _features(self):
        for number, raw in enumerate(read_records(self.path)):
            try:
                features = example_type().FromString(raw).features.feature
            except Exception:  # The exception types differ by implementation of protocol buffers.
                features = None
            yield features, f"record {number} of {self.path}"


def examples(pattern: str, *, image: str, label: str, parallel, classes: str | None, pick: str, keep: int) -> Corpus:
    """List a corpus like JFT: sharded files of encoded pictures with one or several labels each.

    image, label: names of the features. parallel: like map, in any order. classes: path of a file with one class name a line,
    for label 0, 1, ... pick: the label to keep of several, first or frequent. keep: number of most frequent classes to keep
    (Brock et al. 2019, Sec. 4.2: 8,500 of JFT's 18,000); 0 keeps all.
    """
    where = epath.Path(pattern)
    paths = [str(path) for path in matching(where.parent, where.name)]
    if not paths:
        raise UserError(f"--in={pattern} matches no file")
    names = _read_names(classes) if classes else None
    counts: collections.Counter[int] = collections.Counter()
    for found in parallel(Examples.labels, [Examples(path, image, label) for path in paths]):
        counts.update(found)
    if not counts:
        raise UserError(f"no example in --in={pattern} has labels in {label!r}; give --label_key")
    strange = [value for value in counts if value < 0 or (names and value >= len(names))]
    if strange:
        raise UserError(f"label {strange[0]} has no name; --classes={classes} has {len(names or ())} lines")
    by_count = sorted(counts, key=lambda value: (-counts[value], value))
    kept = sorted(by_count[: keep or None])
    rank = {value: -place for place, value in enumerate(by_count)} if pick == "frequent" else None
    choice = Choice({old: new for new, old in enumerate(kept)}, rank)
    parts = [Examples(path, image, label, choice=choice) for path in paths]
    return Corpus(tuple(names[value] if names else str(value) for value in kept), {"train": parts})


def _read_names(path: str) -> list[str]:
    names = [escape(line.strip()) for line in epath.Path(path).read_text().splitlines()]
    bad = [name for name, count in collections.Counter(names).items() if count > 1 or not name]
    if bad:
        raise UserError(f"--classes={path} needs a different class name in each line; {bad[0]!r} is empty or repeated")
    return names


def read_records(path: str) -> Iterator[bytes]:
    """Read all records of one file. Raises UserError if it is neither TFRecord nor ArrayRecord, or truncated."""
    if "tfrecord" in epath.Path(path).name.lower():
        # A record is stored as its length (8 bytes), a checksum of the length (4), the record, and its checksum (4). Checksums
        # are not verified: damage shows when a picture is decoded.
        left = epath.Path(path).stat().length
        with epath.Path(path).open("rb") as file:
            while header := file.read(12):
                length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else left
                left -= 16 + length
                if left < 0:
                    raise UserError(f"{path} is truncated, or not a TFRecord file")
                yield file.read(length)
                file.read(4)
        return
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(path, "readahead_buffer_size:1048576")
        for start in range(0, reader.num_records(), 256):
            yield from reader.read(start, min(start + 256, reader.num_records()))
    except (ValueError, RuntimeError, IndexError) as error:
        raise UserError(f"{path} cannot be read as ArrayRecord: {' '.join(str(error).split())[:120]}") from error
