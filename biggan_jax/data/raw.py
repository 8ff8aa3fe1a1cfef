"""Raw data for `prepare`: pictures in folders, and examples in TFRecord or ArrayRecord files.

A corpus has class names and, for each split, parts: each part becomes one shard, and can be read in another process.
"""

import collections
import dataclasses
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from biggan_jax.data.records import example_type
from biggan_jax.types import UserError

PICTURES = (".jpg", ".jpeg", ".jfif", ".avif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""File name suffixes of pictures, in any case."""


class Item(NamedTuple):
    """One picture: its name for messages, its label, and the bytes of its file."""

    name: str
    label: int
    encoded: bytes


Part = Iterable[Item | str]  # The items of one shard. An item that cannot be read is a sentence instead.


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


def folder(root: epath.Path, *, held_out: int, per_part: int) -> Corpus:
    """List root/CLASS/PICTURE, classes sorted by name; the last `held_out` pictures of each class are for `test`.

    Raises UserError if the folders have another structure; the message says where the pictures are.
    """
    root = epath.Path(root)
    if not root.is_dir():
        raise UserError(f"--in={root} is not a folder")
    entries = sorted(root.iterdir(), key=lambda path: path.name)
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    loose = [entry for entry in entries if _is_picture(entry)]
    if not folders:
        hint = f"it has {len(loose)} pictures and no folders; move them to {root}/CLASS/" if loose else "it is empty"
        raise UserError(f"--in={root} must have a folder of pictures for each class, but {hint}")
    found = {entry.name: sorted(path.name for path in entry.iterdir() if _is_picture(path)) for entry in folders}
    empty = [name for name, pictures in found.items() if not pictures]
    if len(empty) == len(found):
        deeper = next((entry for entry in folders if any(path.is_dir() for path in entry.iterdir())), None)
        hint = f"; they may be one level deeper: --in={deeper}" if deeper else ""
        raise UserError(f"no folder in --in={root} has pictures ({', '.join(PICTURES)}){hint}")
    if empty:
        raise UserError(f"{len(empty)} folders in --in={root} have no pictures: {', '.join(empty[:5])}; remove them")
    if loose:
        stray = f"{len(loose)} pictures outside its class folders, such as {loose[0].name}"
        raise UserError(f"--in={root} has {stray}; move them into one")
    few = [name for name, pictures in found.items() if len(pictures) <= held_out]
    if held_out and few:
        raise UserError(f"--held_out={held_out} leaves class {few[0]} nothing to train on; it has {len(found[few[0]])}")
    splits = {"train": slice(None, -held_out or None)} | ({"test": slice(-held_out, None)} if held_out else {})
    parts = {}
    for split, which in splits.items():
        labelled = [(f"{name}/{file}", i) for i, name in enumerate(found) for file in found[name][which]]
        rows = [(path, label, (root / path).stat().length) for path, label in labelled]
        # Deal the classes out to the shards, so that each shard has nearly all of them.
        count = -(-len(rows) // per_part)
        parts[split] = [Files(str(root), *zip(*rows[i::count], strict=True)) for i in range(count)]
    others = [path for entry in folders for path in entry.iterdir() if not _is_picture(path)]
    kinds = collections.Counter("folders" if path.is_dir() else path.suffix or "no suffix" for path in others)
    note = f"skipped {len(others)} entries of class folders: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}"
    return Corpus(tuple(found), parts, (note,) if others else ())


def _is_picture(path: epath.Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


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
    """One file of examples, TFRecord or ArrayRecord according to its name; examples without a kept label are left out."""

    path: str
    image: str
    label: str
    name: str | None = None
    choice: Choice | None = dataclasses.field(default=None, repr=False)

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
                yield f"{where}: no picture in {self.image!r}, only {', '.join(sorted(features))}"
                continue
            labels = features[self.label].int64_list.value
            label = self.choice(labels) if self.choice else labels[0] if len(labels) == 1 else -1
            if label >= 0:  # TFDS stores -1 for labels that are not public.
                names = features[self.name].bytes_list.value if self.name else []
                yield Item(names[0].decode(errors="replace") if names else where, label, stored[0])

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
    paths = sorted(str(path) for path in where.parent.glob(where.name))
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
    names = [line.strip() for line in epath.Path(path).read_text().splitlines()]
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
