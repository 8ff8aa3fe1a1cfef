"""Read tables that give pictures their labels: StyleGAN's dataset.json, Hugging Face's metadata, and .csv files."""

import collections
import csv
import io
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from biggan_jax.config import some
from biggan_jax.data.trees import Tree
from biggan_jax.types import UserError

STYLEGAN = "dataset.json"
KNOWN = (STYLEGAN, "metadata.jsonl", "metadata.csv", "labels.csv", "labels.tsv", "labels.jsonl")
"""Names that are tables of labels wherever they are found, the first one first."""

KAGGLE_VAL = "LOC_val_solution.csv"  # The classes of ImageNet's validation pictures, in Kaggle's download.
TINY_VAL = "val_annotations.txt"  # Those of Tiny ImageNet's.
SUFFIXES = (".csv", ".tsv", ".jsonl")
LABELS = ("label", "labels", "class", "class_name", "category", "target", "fine_label", "PredictionString")
SPLITS = ("split", "set", "data set", "subset")
PICTURES = (".jpg", ".jpeg", ".jfif", ".avif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""File name suffixes of pictures, in any case."""

TEXTS = re.compile(
    r"(?:(?:image|long|short)[_ -]?)?(?:texts?|captions?|descriptions?|prompts?|sentences?|titles?|alt(?:[_ -]?text)?|comments?|"
    r"additional_feature|questions?|answers?|ocr|urls?|notes?)(?:[_ -]?\d+)?",
    re.IGNORECASE,
)
"""Names of columns that are free text."""

WORDS = 4  # Words in the mean value of a column from which it is free text, whatever its name.
MAX_DISTINCT = 0.5  # More classes than this share of the pictures are no classes, but names, captions or measurements.
MAX_DISTINCT_OF_FEW = 0.8  # The same for up to 10 classes, if no flag chose the column.


class Table(NamedTuple):
    """name: the file, for messages. rows: column name to text."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]


class Labels(NamedTuple):
    """label: picture to class name. split: picture to what the table calls its split. notes: sentences."""

    label: dict[str, str]
    split: dict[str, str]
    notes: tuple[str, ...]


def parse(name: str, content: bytes) -> Table:
    """Parse a table by its file name: .json, .jsonl, .csv, .tsv, or columns between spaces. Raises UserError."""
    suffix = pathlib.PurePosixPath(name).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
        if suffix == ".json":
            return _of_pairs(name, json.loads(text)["labels"])
        if suffix == ".jsonl":
            return _of_records(name, [json.loads(line) for line in text.splitlines() if line.strip()])
        return _of_lines(name, text, suffix)
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        why = str(error) if isinstance(error, ValueError) else repr(error)
        raise UserError(f"{name} cannot be read as a table of files and labels: {why:.120}") from error


def labels(table: Table, pictures: Iterable[str], label_key: str = "", *, held_out: bool = False) -> Labels:
    """Match a table's rows with pictures, by path, file name, or file name without suffix.

    Raises UserError if no column names pictures, if two rows give a picture different labels, or if the column of labels is not
    clear, or has no classes. label_key: its name. held_out: the pictures are of a held-out split, with few for each class.
    """
    known = names_of(pictures)
    if any(key_of(name) in known for name in table.columns):  # A table without a header, of names without suffix.
        numbered = [f"column {i + 1}" for i in range(len(table.columns))]
        numbered = ["file", "label"] if len(numbered) == 2 else numbered
        rows = [dict(zip(table.columns, table.columns, strict=True)), *table.rows]
        table = Table(table.name, tuple(numbered), [dict(zip(numbered, row.values(), strict=True)) for row in rows])
    column = file_column(table, known)
    if column is None:
        raise UserError(f"no column of {table.name} ({some(table.columns)}) names the pictures")
    label_column = _label_column(table, column, label_key)
    split_column = next((name for name in table.columns if name.lower() in SPLITS and name != label_column), None)
    found: dict[str, str] = {}
    split: dict[str, str] = {}
    missing: list[str] = []
    for row in table.rows:
        path, label = known.get(key_of(row[column])), row[label_column].strip()
        if label_column == "PredictionString":  # Kaggle's: a class and boxes.
            label = label.partition(" ")[0]
        if path is None:
            missing.append(row[column])
            continue
        if not label:
            continue
        if found.setdefault(path, label) != label:
            raise UserError(f"{table.name} gives {path} two labels, {found[path]!r} and {label!r}; correct it")
        if split_column:
            split[path] = row[split_column].strip()
    if all(
        re.fullmatch(r"-?\d+\.0+", label) for label in found.values()
    ):  # Integers beside a missing value, as pandas writes.
        found = {path: label.partition(".")[0] for path, label in found.items()}
    if not held_out:
        refuse_no_classes(
            f"column {label_column!r} of {table.name}", list(found.values()), "" if label_key else label_column
        )
    notes = [f"classes are those of {table.name}, column {label_column!r}"]
    if missing:
        notes.append(f"{len(missing):,} rows of {table.name} name no picture, such as {missing[0]}")
    return Labels(found, split, tuple(notes))


def file_column(table: Table, known: Mapping[str, str]) -> str | None:
    """Return the column that names most of the pictures, or None. known: from `names_of`."""
    count = {name: sum(key_of(row[name]) in known for row in table.rows) for name in table.columns}
    best = max(count, key=lambda name: count[name], default=None)
    return best if best is not None and count[best] else None


def covers(table: Table, pictures: Iterable[str]) -> bool:
    """Whether the table names at least half of the pictures."""
    pictures = list(pictures)
    known = names_of(pictures)
    column = file_column(table, known)
    named = {known[key_of(row[column])] for row in table.rows if key_of(row[column]) in known} if column else ()
    return 2 * len(named) >= len(pictures)


def candidates(tree: Tree) -> list[str]:
    """Return the other tables beside the pictures, by name."""
    return [path for path in tree.sizes if "/" not in path and path.lower().endswith(SUFFIXES) and path not in KNOWN]


def names_of(pictures: Iterable[str]) -> dict[str, str]:
    """Map each path, file name and file name without suffix to its picture, unless two pictures share it."""
    pictures = list(pictures)
    known = {path: path for path in pictures}
    for key in (lambda path: path.name, lambda path: path.stem):
        every = collections.defaultdict(list)
        for path in pictures:
            every[key(pathlib.PurePosixPath(path))].append(path)
        known = {name: paths[0] for name, paths in every.items() if len(paths) == 1} | known
    return known


def key_of(text: str) -> str:
    """Return the form in which `names_of` has a path."""
    return text.strip().replace("\\", "/").removeprefix("./")


def _label_column(table: Table, file_column: str, label_key: str) -> str:
    others = [name for name in table.columns if name != file_column and name.lower() not in SPLITS]
    if label_key:
        if label_key not in table.columns:
            raise UserError(f"{table.name} has no column {label_key!r}, only {some(table.columns)}; give --label_key")
        return label_key
    named = [name for name in others if name in LABELS or name.lower() in LABELS]
    chosen = named or others
    if len(chosen) == 1 and not (named or not _is_text(table, chosen[0])):
        raise UserError(
            f"{table.name} has no column of labels: its column {chosen[0]!r} is free text; captions need --from=captions; "
            f"give --labels=none for a set without classes, or --label_key={chosen[0]} if its values are classes"
        )
    if len(chosen) == 1:
        return chosen[0]
    if not others:
        raise UserError(f"{table.name} has no column of labels; give --labels=none for a set without classes")
    raise UserError(
        f"{table.name} has the columns {some(table.columns)}; give the one of the labels as --label_key=COLUMN, "
        "or --labels=none for a set without classes"
    )


def refuse_no_classes(where: str, found: Sequence[str], chosen: str = "") -> None:
    """Raise UserError if the labels of the pictures are no classes.

    where: the column, for messages. chosen: its name if no flag chose it; then a small set may not have a class for each picture.
    """
    distinct, count = len(set(found)), len(found)
    if not found:
        raise UserError(f"{where} gives no picture a label; give another --label_key, or --labels=none")
    few = distinct <= 10
    if distinct > MAX_DISTINCT * count and not (
        few and (not chosen or distinct < MAX_DISTINCT_OF_FEW * count or count < 3)
    ):
        anyway = f", or --label_key={chosen} if they are" if few else ""
        what = f"{distinct:,} different values for {count:,} pictures, so they are no classes"
        raise UserError(
            f"{where} has {what}; give another --label_key, or --labels=none for a set without classes{anyway}"
        )
    if distinct > 1 and any(_is_fraction(value) for value in found):
        raise UserError(
            f"{where} has real numbers, which are no classes; give another --label_key or --labels=none, or prepare "
            "arrays with a condition (--from=arrays)"
        )


def _is_text(table: Table, column: str) -> bool:
    """Whether a column is free text, by its name or its values."""
    values = [row[column] for row in table.rows if row[column].strip()]
    words = sum(len(value.split()) for value in values)
    return bool(TEXTS.fullmatch(column.strip())) or words >= WORDS * max(1, len(values))


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def _of_pairs(name: str, pairs: Any) -> Table:
    """StyleGAN's: [file, label] for each picture, or null."""
    if pairs is None:
        return Table(name, ("file", "label"), [])
    rows = []
    for file, label in pairs.items() if isinstance(pairs, dict) else pairs:
        if isinstance(label, list):
            raise UserError(
                f"{name} gives each picture {len(label)} numbers, not a class; give --labels=none, or prepare arrays "
                "with a condition (--from=arrays)"
            )
        rows.append({"file": str(file), "label": _text(label)})
    return Table(name, ("file", "label"), rows)


def _of_records(name: str, records: list[dict[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(column for record in records for column in record))
    return Table(name, columns, [{column: _text(record.get(column)) for column in columns} for record in records])


def _of_lines(name: str, text: str, suffix: str) -> Table:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(("\t", ",", ";"), key=first.count)
    if suffix in (".csv", ".tsv") or delimiter in first:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    else:
        rows = [line.split() for line in text.splitlines() if line.strip()]
    if not rows:
        raise ValueError("it is empty")
    width = max(map(len, rows))
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    # A first line that names a picture is no header.
    has_header = suffix in (".csv", ".tsv") and not any(map(_names_picture, rows[0]))
    columns = [cell.strip() for cell in rows[0]] if has_header else ["file", "label"] if width == 2 else [""] * width
    columns = [column or f"column {i + 1}" for i, column in enumerate(columns)]
    if len(set(columns)) != width:
        raise ValueError("two columns have one name")
    return Table(name, tuple(columns), [dict(zip(columns, row, strict=True)) for row in rows[has_header:]])


def _names_picture(cell: str) -> bool:
    return pathlib.PurePosixPath(cell.strip()).suffix.lower() in PICTURES


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)
