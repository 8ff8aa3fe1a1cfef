"""Pictures with captions, and with embeddings of them, for `prepare`."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data import label_tables, layouts, raw
from biggan_jax.data.labelled import Layout, Options, UnclearError, left_out
from biggan_jax.data.records import digest
from biggan_jax.data.trees import Tree
from biggan_jax.runtime.files import read_npz
from biggan_jax.types import UserError

TABLES = tuple(f"{name}{suffix}" for name in ("captions", "metadata") for suffix in (".jsonl", ".csv", ".tsv"))
"""Names of tables of captions, at the root or in a folder of pictures."""

COLUMNS = ("text", "texts", "caption", "captions", "description", "prompt", "sentence", "title")
"""Names of columns of captions, in any case, the first one first."""

MOST_BYTES = 4096  # Of a caption.


@dataclasses.dataclass(frozen=True)
class Captioned:
    """The pictures of a part with their captions, and with embeddings if there is a file of them.

    captions: of each picture of the part, in order. embeddings: the file's path; "": none. keys: the name in it of each picture.
    content: a hash of the file, which reveals changes.
    """

    part: Any
    captions: tuple[tuple[str, ...], ...]
    embeddings: str = ""
    keys: tuple[str, ...] = ()
    content: int = 0

    def __iter__(self) -> Iterator[raw.Item | str]:
        arrays = read_embeddings(self.embeddings) if self.embeddings else {}
        names = self.part.paths if isinstance(self.part, raw.Files) else self.part.names
        texts = dict(zip(names, self.captions, strict=True))
        keys = dict(zip(names, self.keys, strict=True)) if arrays else {}
        for item in self.part:
            if isinstance(item, str):
                yield item
                continue
            own = tuple(arrays[keys[item.name]].ravel().tolist()) if arrays else ()
            yield item._replace(captions=texts[item.name], condition=own)

    def selected(self, wanted: Callable[[bytes], bool]) -> Iterator[raw.Item]:
        """Yield the readable pictures whose first bytes are wanted."""
        return iter(self.part.selected(wanted))


def corpus(
    root: epath.Path,
    rules: raw.Rules,
    suffixes: tuple[str, ...],
    *,
    table: str = "",
    column: str = "",
    embeddings: str = "",
    most: int = 0,
    skip_others: bool = False,
) -> tuple[raw.Corpus, tuple[int, ...]]:
    """List the pictures of a folder or zip that have captions or embeddings; return the corpus and the shape of each embedding.

    Captions are the lines of a .txt beside a picture, or rows of a table: `table`, or those in TABLES. Folders named after splits
    are the splits. column: of captions. embeddings: an .npz or .safetensors of arrays [E] or [K, E], by pictures' paths. most:
    captions of a picture that are kept, the first ones; 0: all. Raises UserError, also if many pictures have neither, unless
    `skip_others`.
    """
    is_zip = root.suffix.lower() == ".zip" and not root.is_dir()
    tree, of_pictures = raw.members_of(root) if is_zip else raw.files_of(root)
    layout = layouts.read(tree, Options(suffixes, labels="none", skip_others=skip_others))
    pictures = [path for rows in layout.splits.values() for path in rows]
    texts, note = _captions(tree, pictures, table, column, needed=not embeddings)
    notes = [*layout.notes, *([note] if note else []), *_unused(tree, pictures)]
    texts = {path: own[:most] if most else own for path, own in texts.items() if own}
    keys, shape = _embedded(embeddings, pictures) if embeddings else ({}, ())
    has: Mapping[str, Any] = keys if embeddings else texts
    if missing := [path for path in pictures if path not in has]:
        what = f"have no {'embedding' if embeddings else 'caption'}, such as {missing[0]}"
        try:
            notes.append(left_out(missing, len(pictures), what, allowed=skip_others))
        except UnclearError as error:
            raise UserError(f"{error}; add them, or leave these pictures out with --skip_others") from None
    if len(missing) == len(pictures):
        raise UserError(f"no picture in {tree.where} has a caption or embedding; {note}")
    kept = {split: {path: name for path, name in rows.items() if path in has} for split, rows in layout.splits.items()}
    kept = {split: rows for split, rows in kept.items() if rows}
    content = digest(epath.Path(embeddings).read_bytes()) if embeddings else 0

    def part(paths: tuple[str, ...], labels: tuple[int, ...]) -> Captioned:
        own, of_paths = of_pictures(paths, labels), tuple(texts.get(path, ()) for path in paths)
        return Captioned(own, of_paths, embeddings, tuple(keys[path] for path in paths) if embeddings else (), content)

    return raw.of_layout(Layout(kept, tuple(notes)), rules, part), shape


def _captions(
    tree: Tree, pictures: Sequence[str], table: str, column: str, *, needed: bool
) -> tuple[dict[str, tuple[str, ...]], str]:
    """Return each picture's captions, and a sentence about where they are from."""
    if table:
        content = tree.read(table) if table in tree.sizes else _read(table)
        found, unused = _of_table(label_tables.parse(table, content), pictures, column)
        return found, "; ".join([f"captions are those of {table}", *unused])
    tables = [path for path in tree.sizes if path.rpartition("/")[2] in TABLES and path.count("/") < 2]
    found, every_unused = {}, []
    for path in tables:
        folder = path.rpartition("/")[0]
        start = f"{folder}/" if folder else ""
        own = [picture.removeprefix(start) for picture in pictures if picture.startswith(start)]
        rows, unused = _of_table(label_tables.parse(path, tree.read(path)), own, column)
        every_unused += unused
        found |= {f"{start}{picture}": texts for picture, texts in rows.items()}
    if tables:
        return found, "; ".join([f"captions are those of {some(tables)}", *every_unused])
    if column:
        raise UserError(f"--label_key={column} names a column, and {tree.where} has no table ({', '.join(TABLES)})")
    beside = {picture: _beside(picture) for picture in pictures}
    found = {picture: _lines(tree, path) for picture, path in beside.items() if path in tree.sizes}
    if not found and needed:
        example = pictures[0] if pictures else "a.png"
        wanted = (
            f"a .txt beside each picture, such as {_beside(example)}, or a table, such as {TABLES[1]} with file,text"
        )
        raise UserError(f"{tree.where} has no captions: {wanted}, is needed, or --captions=TABLE")
    return found, "captions are the lines of the .txt beside each picture" if found else ""


def _unused(tree: Tree, pictures: Sequence[str]) -> list[str]:
    """Return a sentence about the .txt that are beside no picture, if other ones are."""
    beside = set(map(_beside, pictures))
    texts = [path for path in tree.sizes if path.endswith(".txt")]
    alone = [path for path in texts if path not in beside]
    if not alone or len(alone) == len(texts):
        return []
    return [f".txt that are beside no picture: {len(alone)}, such as {alone[0]}"]


def _beside(picture: str) -> str:
    return str(pathlib.PurePosixPath(picture).with_suffix(".txt"))


def _lines(tree: Tree, path: str) -> tuple[str, ...]:
    try:
        text = tree.read(path).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{tree.where}/{path} cannot be read as UTF-8 text: {error!r:.100}") from None
    return _cleaned(text.splitlines(), path)


def _cleaned(texts: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the texts with single spaces, without empty ones and repetitions. Raises UserError for one that is too long."""
    found = tuple(dict.fromkeys(own for text in texts if (own := " ".join(text.replace("\0", " ").split()))))
    if long := [text for text in found if len(text.encode(errors="replace")) > MOST_BYTES]:
        raise UserError(
            f"{where} has a text of {len(long[0]):,} characters; a caption has at most {MOST_BYTES:,} bytes"
        )
    return found


def _of_table(
    table: label_tables.Table, pictures: Iterable[str], column: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the captions of the pictures that a table names, and a sentence about rows of no use.

    A picture may have several rows, or a list.
    """
    known = label_tables.names_of(pictures)
    files = label_tables.file_column(table, known)
    if files is None:
        why = f"no column of {table.name} ({some(table.columns)}) names the pictures"
        raise UserError(why if table.rows else f"{table.name} has no row below its header ({some(table.columns)})")
    own = _column(table, files, column)
    texts: dict[str, list[str]] = {}
    unknown, empty = [], []
    for row in table.rows:
        path = known.get(label_tables.key_of(row[files]))
        if path is None:
            unknown.append(row[files])
        elif not row[own].strip():
            empty.append(row[files])
        else:
            texts.setdefault(path, []).extend(_listed(row[own]))
    unused = [f"rows of {table.name} that name no picture: {len(unknown)}, such as {unknown[0]}"] if unknown else []
    unused += [f"rows of {table.name} without a text: {len(empty)}, such as that of {empty[0]}"] if empty else []
    return {path: _cleaned(each, table.name) for path, each in texts.items()}, unused


def _column(table: label_tables.Table, files: str, column: str) -> str:
    if column:
        if column not in table.columns:
            raise UserError(f"{table.name} has no column {column!r}, only {some(table.columns)}; give --label_key")
        return column
    others = [name for name in table.columns if name != files and name.lower() not in label_tables.SPLITS]
    named = sorted((name for name in others if name.lower() in COLUMNS), key=lambda name: COLUMNS.index(name.lower()))
    chosen = named[:1] or others
    if len(chosen) != 1:
        raise UserError(
            f"{table.name} has the columns {some(table.columns)}; give the one of the captions as --label_key=COLUMN"
        )
    return chosen[0]


def _listed(cell: str) -> list[str]:
    """Return the texts of a cell: one, or those of a list in JSON."""
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except ValueError:
            return [cell]
        return [str(text) for text in found] if isinstance(found, list) else [cell]
    return [cell]


def _read(path: str) -> bytes:
    try:
        return epath.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--captions={path} cannot be read ({error.strerror or error})") from error


def _embedded(path: str, pictures: Iterable[str]) -> tuple[dict[str, str], tuple[int, ...]]:
    """Return the name in a file of embeddings of each picture, and the shape that all of these have."""
    arrays, known = read_embeddings(path), label_tables.names_of(pictures)
    keys = {known[own]: name for name in arrays if (own := label_tables.key_of(name)) in known}
    if not keys:
        raise UserError(
            f"--embeddings={path}: no array ({some(arrays)}) has the name of a picture, such as {min(known)}"
        )
    shapes = {arrays[name].shape for name in keys.values()}
    first = min(keys)
    if len(shapes) > 1 or len(arrays[keys[first]].shape) not in (1, 2) or 0 in arrays[keys[first]].shape:
        has = some(sorted(str(list(shape)) for shape in shapes))
        raise UserError(f"--embeddings={path} has arrays {has}; each picture needs one [E], or equally many [K, E]")
    for name in keys.values():
        if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name].astype(np.float32)).all():
            raise UserError(f"--embeddings={path}: {name} is {arrays[name].dtype}; finite numbers, float32, are needed")
    shape = arrays[keys[first]].shape
    return keys, shape[1:] if len(shape) == 2 and shape[0] == 1 else shape


def read_embeddings(path: str) -> dict[str, np.ndarray]:
    """Read arrays by name, from an .npz or a .safetensors. Raises UserError."""
    file = epath.Path(path)
    if file.suffix == ".npz":
        return read_npz(file)
    if file.suffix != ".safetensors":
        raise UserError(f"--embeddings={path} is neither an .npz nor a .safetensors")
    from biggan_jax.checkpoint import safetensors

    try:
        return safetensors.from_bytes(file.read_bytes(), path)[0]
    except OSError as error:
        raise UserError(f"--embeddings={path} cannot be read ({error.strerror or error})") from error
