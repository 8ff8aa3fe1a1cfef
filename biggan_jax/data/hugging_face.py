"""Read data sets of the Hugging Face hub: Parquet files, or the Arrow files of `save_to_disk`."""

import collections
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow
from etils import epath
from pyarrow import parquet

from biggan_jax.config import some
from biggan_jax.data import label_tables, splits
from biggan_jax.data.labelled import ONE_CLASS
from biggan_jax.data.names import split_named
from biggan_jax.data.raw import HEAD, Corpus, Item, Rules
from biggan_jax.data.trees import Tree
from biggan_jax.types import UserError

SUFFIXES = (".parquet", ".arrow")
ROWS = 64  # Read at a time.


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of one file, with their labels. size: the file's bytes, which reveal changes."""

    path: str
    size: int
    image: str
    numbers: tuple[int, ...]
    labels: tuple[int, ...]

    def __iter__(self) -> Iterator[Item | str]:
        label = dict(zip(self.numbers, self.labels, strict=True))
        for number, picture in _column(self.path, self.image, self.numbers[0]):
            if number > self.numbers[-1]:
                return
            if number not in label:
                continue
            name = f"row {number} of {pathlib.PurePosixPath(self.path).name}"
            content = picture.get("bytes") if isinstance(picture, dict) else picture
            yield Item(name, label[number], content) if content else f"{name}: its picture is not in the file"

    def selected(self, wanted: Callable[[bytes], bool]) -> Iterator[Item]:
        """Yield the pictures whose first bytes are wanted."""
        return (item for item in self if isinstance(item, Item) and wanted(item.encoded[:HEAD]))


def files_of(tree: Tree) -> list[str]:
    """Return the tables of a tree; [] if it has pictures as files."""
    return [path for path in tree.sizes if path.endswith(SUFFIXES)]


def corpus(tree: Tree, rules: Rules, image_key: str = "", label_key: str = "", *, labelled: bool = True) -> Corpus:
    """List the rows of all tables. Splits are told by the names of files and folders.

    Raises UserError if the columns of pictures and labels are not clear, or if several configs lie beside each other.
    """
    by_split: dict[str, list[str]] = collections.defaultdict(list)
    folders = set()
    for path in files_of(tree):
        *parents, file = path.split("/")
        names = [file.rpartition(".")[0].partition("-")[0], *reversed(parents)]
        by_split[next(filter(None, map(split_named, names)), "train")].append(path)
        folders.add("/".join(parent for parent in parents if not split_named(parent)))
    if len(folders) > 1:
        which = some(f"--in={tree.where}/{folder}" for folder in sorted(folders) if folder)
        raise UserError(
            f"--in={tree.where} has tables in {len(folders)} folders, which may be several configs: {which}"
        )
    if "train" not in by_split:
        raise UserError(f"--in={tree.where} has no table of the split train, only of {', '.join(sorted(by_split))}")
    where = lambda path: f"{tree.where}/{path}"
    schema, features = _schema(where(by_split["train"][0]))
    image = _image_column(schema, features, image_key, tree.where)
    label, names = _label_column(schema, features, label_key, tree.where) if labelled else ("", [ONE_CLASS])
    values = {
        split: {
            path: [value for _, value in _column(where(path), label, 0)] if label else [None] * _count(where(path))
            for path in paths
        }
        for split, paths in by_split.items()
    }
    described = bool(names)
    if not described:
        found = [str(value) for each in values["train"].values() for value in each if value is not None]
        label_tables.refuse_no_classes(f"the column {label!r} of {tree.where}", found)
    if not names:
        texts = {
            str(value) for files in values.values() for each in files.values() for value in each if value is not None
        }
        names = splits.class_order(sorted(texts), rules.order)
    number = {name: i for i, name in enumerate(names)}
    id_of = lambda value: 0 if not label else value if isinstance(value, int) and described else number[str(value)]
    rows = {
        split: {
            (path, i): id_of(value)
            for path, each in files.items()
            for i, value in enumerate(each)
            if not label or (value is not None and value != -1)  # The hub stores -1 for labels that are not public.
        }
        for split, files in values.items()
    }
    if rules.held_out:
        if len(rows) > 1:
            raise UserError("--held_out has no effect: the set has splits of its own; leave it out")
        keys = {f"{path} {i:012d}": (path, i) for path, i in rows["train"]}
        of_text = {text: rows["train"][row] for text, row in keys.items()}
        held = {keys[text] for text in splits.held_out(of_text, names, rules.held_out, rules.split, rules.seed)}
        rows = {
            "train": {row: value for row, value in rows["train"].items() if row not in held},
            "test": {row: value for row, value in rows["train"].items() if row in held},
        }
    parts = {}
    for split, own in rows.items():
        by_file: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        for (path, i), value in own.items():
            by_file[path].append((i, value))
        parts[split] = [
            Rows(where(path), tree.sizes[path], image, *zip(*pairs[start : start + rules.per_part], strict=True))
            for path, pairs in by_file.items()
            for start in range(0, len(pairs), rules.per_part)
        ]
    notes = f"pictures are the column {image}, classes {f'the column {label}' if label else 'none'}"
    return Corpus(tuple(names), {split: each for split, each in parts.items() if each}, (notes,))


def _schema(path: str) -> tuple[Any, dict[str, Any]]:
    """Return a table's schema, and the hub's description of its columns."""
    try:
        if path.endswith(".parquet"):
            with epath.Path(path).open("rb") as file:
                schema = parquet.read_schema(file)
        else:
            with epath.Path(path).open("rb") as file:
                schema = pyarrow.ipc.open_stream(file).schema
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (pyarrow.ArrowInvalid, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a table: {' '.join(str(error).split())[:120]}") from error
    found = stored.get("info", {}).get("features", {})
    return schema, {name: feature for name, feature in found.items() if isinstance(feature, dict)}


def _count(path: str) -> int:
    with epath.Path(path).open("rb") as file:
        if path.endswith(".parquet"):
            return parquet.ParquetFile(file).metadata.num_rows
        return sum(batch.num_rows for batch in pyarrow.ipc.open_stream(file))


def _column(path: str, name: str, first: int) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of the rows of a column, from the part of the file that has row `first`."""
    with epath.Path(path).open("rb") as file:
        number, batches = (
            _parquet_batches(file, name, first) if path.endswith(".parquet") else (0, _arrow_batches(file, name))
        )
        for column in batches:
            for i in range(len(column)):
                yield number, column[i].as_py()
                number += 1


def _arrow_batches(file: Any, name: str) -> Iterator[Any]:
    return (batch.column(name) for batch in pyarrow.ipc.open_stream(file))


def _parquet_batches(file: Any, name: str, first: int) -> tuple[int, Iterator[Any]]:
    """Return the number of the first row that is read, and the batches of the column from there."""
    table = parquet.ParquetFile(file)
    sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    ends = list(itertools.accumulate(sizes))
    groups = [group for group, end in enumerate(ends) if end > first]
    start = ends[groups[0]] - sizes[groups[0]] if groups else 0
    return start, (batch.column(0) for batch in table.iter_batches(ROWS, row_groups=groups, columns=[name]))


def _image_column(schema: Any, features: dict[str, Any], key: str, where: str) -> str:
    is_bytes = lambda kind: pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
    fits = lambda kind: is_bytes(kind) or (pyarrow.types.is_struct(kind) and "bytes" in [field.name for field in kind])
    possible = [field.name for field in schema if fits(field.type)]
    described = [name for name in possible if features.get(name, {}).get("_type") == "Image"]
    return _one(described or possible, possible, key, "image", where)


def _label_column(schema: Any, features: dict[str, Any], key: str, where: str) -> tuple[str, list[str]]:
    named = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    plain = lambda kind: (
        pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    )
    possible = [*named, *(field.name for field in schema if plain(field.type) and field.name not in named)]
    column = _one(list(named) or [name for name in possible if name == "label"], possible, key, "label", where)
    return column, list(named.get(column, []))


def _one(found: Sequence[str], possible: Sequence[str], key: str, usual: str, where: str) -> str:
    """Return the column `key`, or the only one, or of several the one of the usual name."""
    listed = some(possible)
    if key:
        if key not in possible:
            raise UserError(f"--{usual}_key={key} is not one of the columns of {where} that may be it: {listed}")
        return key
    if len(found) == 1 or usual in found:
        return usual if usual in found else found[0]
    also = ", or --labels=none for a set without classes" if usual == "label" else ""
    raise UserError(f"{where} has {len(found)} columns of {usual}s; give --{usual}_key, one of {listed}{also}")
