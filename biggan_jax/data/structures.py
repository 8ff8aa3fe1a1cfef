"""The structures that a set of pictures is read in: a table, folders of splits, folders of classes."""

import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping

from etils import epath

from biggan_jax.config import some
from biggan_jax.data import label_tables
from biggan_jax.data.label_tables import PICTURES, Table
from biggan_jax.data.trees import Tree
from biggan_jax.types import UserError

MOST_LEFT_OUT = 0.1  # A larger share of the pictures is left out only if a flag says so.
ONE_CLASS = "all"  # The name of the class of a set without classes.

_SPLIT = re.compile(
    r"(?:(train|training)|(val|valid|validation|dev|eval)|(test|testing))"
    r"(?:[_-]?(?:set|data|split|images|imgs|pics|\d{1,2}))?",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"(?:my|all|the)?[_ -]?(?:all|raw|data|dataset|datasets|imgs?|images?|jpe?gs?|pngs?|pics?|pictures?|photos?|files?|samples?|input|"
    r"source|frames?|dscn?|pxl|masks?|labels?|annotations?|bboxes|segmentations?|unlabell?ed)(?:[_ -]?\d+)?",
    re.IGNORECASE,
)
"""Names of folders and files that are no class's."""

FILES_EACH = 2  # Files that share a name before their numbers, in the mean, from which such names look like classes.
DOMAIN = re.compile(r"(train|val|test)([AB])")


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user says about a layout.

    suffixes: of the files that are pictures. labels: auto; folders (the class is the first folder), parent (the folder of the
    picture), prefix (the file name before its number), none (one class), or the path of a table. label_key: the table's column of
    labels. skip_nested: leave out pictures deeper than ROOT/CLASS/FILE. skip_others: leave out any number of pictures that have no
    label or cannot be read.
    """

    suffixes: tuple[str, ...] = PICTURES
    labels: str = "auto"
    label_key: str = ""
    skip_nested: bool = False
    skip_others: bool = False


@dataclasses.dataclass(frozen=True)
class Layout:
    """splits: train, and validation or test if they are there, to {picture: class name}. notes: what was assumed or left out."""

    splits: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()


class UnclearError(Exception):
    """The files of a tree match no known structure; the message says what the tree has.

    ways: keys of layouts.WAYS, "in:FOLDER", or sentences.
    """

    def __init__(self, message: str, *ways: str):
        super().__init__(message)
        self.ways = ways


def pictures_of(tree: Tree, options: Options) -> list[str]:
    """Return the paths of a tree's pictures."""
    return [path for path in tree.sizes if path.lower().endswith(options.suffixes)]


def structure(tree: Tree, options: Options) -> Layout:
    """Label the pictures of a tree. Raises UnclearError if its structure is not one of those that are read."""
    pictures = pictures_of(tree, options)
    if options.labels in ("folders", "parent"):
        return _by_folders(tree, _in_folders(tree, pictures), options.labels)
    if options.labels == "prefix":
        return _by_prefix(tree, pictures, options)
    if options.labels == "none":
        return _unlabelled(pictures)
    if options.labels != "auto":
        return _by_table(_given_table(tree, options.labels), pictures, options)
    if table := _known_table(tree, pictures):
        return _by_table(table, pictures, options)
    if all(DOMAIN.fullmatch(_first(path)) for path in pictures):
        return _domains(tree, pictures)
    if splits := _split_folders(pictures):
        return _splits(tree, splits, options)
    in_one_folder = len({_folder(path) for path in pictures}) == 1
    if in_one_folder and (table := _beside(tree, pictures)):
        return _by_table(table, pictures, options)
    return _classes(tree, pictures, options)


def left_out(some: list[str], of: int, what: str, *, allowed: bool) -> str:
    """Return a sentence about pictures that are left out. Raises UnclearError if they are many and not `allowed`."""
    named = f"{len(some):,} of {of:,} pictures {what}"
    if len(some) > MOST_LEFT_OUT * of and not allowed:
        raise UnclearError(named, "skip_others")
    return f"left out: {named}"


def _unlabelled(pictures: list[str]) -> Layout:
    splits = _split_folders(pictures)
    if "train" not in splits.values():
        splits = {}
    found = _dealt({path: ONE_CLASS for path in pictures}, lambda path: splits.get(_first(path), "train"))
    return Layout(found, (f"splits are the folders {', '.join(splits)}",) if splits else ())


def set_folder(tree: Tree, options: Options) -> str:
    """Return the folder with all pictures, which it divides into splits: ILSVRC/Data/CLS-LOC of ImageNet; "" if there is none.

    A table of labels beside it comes first: it may name the pictures by their paths.
    """
    pictures = pictures_of(tree, options)
    first, last = (path.split("/")[:-1] for path in (min(pictures), max(pictures)))
    shared = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    for depth in range(len(shared), 0, -1):
        folder = "/".join(shared[:depth])
        splits = _split_folders(path.removeprefix(f"{folder}/") for path in pictures)
        if len(set(splits.values())) > 1 and "train" in splits.values():
            return "" if options.labels == "auto" and _known_table(tree, pictures) else folder
    return ""


def _by_folders(tree: Tree, pictures: list[str], how: str) -> Layout:
    """Label pictures by a folder, below the folders of splits if there are any. how: folders or parent."""
    splits = _split_folders(pictures)
    if splits and "train" not in splits.values():
        raise UnclearError(
            f"--in={tree.where} has the splits {', '.join(splits)}, but needs train", *_each(splits), "none"
        )
    if others := sorted({_first(path) for path in pictures} - set(splits)) if splits else []:
        raise UnclearError(f"--in={tree.where} has {some(others)} beside the splits {', '.join(splits)}", "none")
    notes = [f"splits are the folders {', '.join(splits)}"] if splits else []
    inner = {path: path.partition("/")[2] if splits else path for path in pictures}
    for top in splits:
        loose = [path for path, rest in inner.items() if _first(path) == top and "/" not in rest]
        if loose and splits[top] == "train":
            raise UnclearError(f"{len(loose):,} pictures of {tree.where}/{top} are in no folder", "prefix", "none")
        if loose:
            notes.append(f"left out: {len(loose):,} pictures of {top}, which have no labels")
    inner = {path: rest for path, rest in inner.items() if "/" in rest}
    name = {rest: _first(rest) for rest in inner.values()} if how == "folders" else _parents(list(inner.values()))
    found = _dealt({path: name[rest] for path, rest in inner.items()}, lambda path: splits.get(_first(path), "train"))
    names = {name for rows in found.values() for name in rows.values()}
    parts = {split_named(name.rpartition("/")[2]) for name in names} - {""}
    if len(parts) > 1:
        raise UnclearError(f"--labels={how} would make classes of the splits {some(sorted(names))}", *_DEEP)
    _refuse_new_classes(tree, found)
    notes += [f"the only class is {name}: the set has no classes" for name in names if len(names) == 1]
    return Layout(found, tuple(notes))


def _by_prefix(tree: Tree, pictures: list[str], options: Options) -> Layout:
    """Label pictures by their file names, such as cat.0.jpg, in the splits of the first folders, if they are any."""
    splits = _split_folders(pictures) or {top: split_named(top) for top in map(_first, pictures) if split_named(top)}
    if "train" not in splits.values():
        splits = {}
    split_of = lambda path: splits.get(_first(path), "train")
    found = _dealt({path: name for path in pictures if (name := prefix(path))}, split_of)
    known = set(found.get("train", {}).values())
    found = {split: {path: name for path, name in rows.items() if name in known} for split, rows in found.items()}
    labelled = {path for rows in found.values() for path in rows}
    missing = [path for path in pictures if path not in labelled]
    for_training = [path for path in missing if split_of(path) == "train"]
    notes = [f"classes are the file names before their numbers: {some(sorted(known))}"]
    if held_out := len(missing) - len(for_training):
        notes.append(f"left out: {held_out:,} held-out pictures without a label")
    if for_training:
        what = f"have no name before a number, such as {for_training[0]}"
        notes.append(left_out(for_training, len(pictures) - held_out, what, allowed=options.skip_others))
    return Layout({split: rows for split, rows in found.items() if rows}, tuple(notes))


def prefix(path: str) -> str:
    """Return a file name before its number; "" without a number, or with nothing before it.

    >>> [prefix(name) for name in ("train/cat.0.jpg", "great_dane_12.jpg", "dog (3).jpg", "cat07.png", "000123.png", "logo.png")]
    ['cat', 'great_dane', 'dog', 'cat', '', '']
    """
    stem = pathlib.PurePosixPath(path).stem
    found = re.match(r"(.+?)[ ._-]+\(?\d", stem) or re.match(r"(\D+)\d+$", stem)
    return found[1].strip(" ._-(") if found else ""


def prefixes(pictures: Iterable[str]) -> list[str]:
    """Return the names before the numbers of files if they look like classes: a few that several files each share; [] otherwise.

    Files in folders of held-out splits may have other names.
    """
    pictures = list(pictures)
    for_training = [path for path in pictures if split_named(_first(path)) in ("", "train")] or pictures
    count = collections.Counter(map(prefix, for_training))
    named = [name for name in count if re.search(r"[^\W\d_]", name) and not is_generic(name)]
    enough = sum(count[name] for name in named) >= (1 - MOST_LEFT_OUT) * len(for_training)
    return sorted(named) if len(named) > 1 and enough and len(named) * FILES_EACH <= len(for_training) else []


def is_generic(name: str) -> bool:
    """Whether a folder or file of this name has pictures of no class in particular: images, data, IMG; or a split's."""
    return bool(split_named(name) or _GENERIC.fullmatch(name.strip()))


def _given_table(tree: Tree, path: str) -> Table:
    if path in tree.sizes:
        return label_tables.parse(path, tree.read(path))
    try:
        return label_tables.parse(path, epath.Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"--labels={path} is neither auto, folders, parent, prefix, none nor a file ({error.strerror})"
        ) from error


def _known_table(tree: Tree, pictures: list[str]) -> Table | None:
    """Return the table at the root whose name says that it has the labels, if it names the pictures."""
    for name in label_tables.KNOWN:
        if name in tree.sizes:
            table = label_tables.parse(name, tree.read(name))
            if name == label_tables.STYLEGAN and not table.rows:
                return table
            if label_tables.covers(table, pictures):
                return table
    return None


def _beside(tree: Tree, pictures: list[str]) -> Table | None:
    """Return the table beside or above pictures in one folder that names them. Raises UserError if there are several."""
    found = {}
    for name in label_tables.candidates(tree):
        found[name] = label_tables.parse(name, tree.read(name))
    for name in (label_tables.KAGGLE_VAL, *label_tables.KNOWN):
        if (content := tree.above(name)) is not None:
            try:
                found.setdefault(name, label_tables.parse(name, content))
            except UserError:
                continue  # What is above the set may have nothing to do with it.
    if label_tables.TINY_VAL in tree.sizes:
        rows = label_tables.parse(label_tables.TINY_VAL, tree.read(label_tables.TINY_VAL)).rows
        pairs = [dict(zip(("file", "label"), row.values(), strict=False)) for row in rows]
        found[label_tables.TINY_VAL] = Table(label_tables.TINY_VAL, ("file", "label"), pairs)
    found = {name: table for name, table in found.items() if label_tables.covers(table, pictures)}
    if len(found) > 1:
        names = ", ".join(found)
        raise UserError(
            f"--in={tree.where} has {len(found)} tables that name its pictures: {names}; give --labels=FILE"
        )
    return next(iter(found.values()), None)


def _named_after(tree: Tree, split: str, pictures: list[str]) -> Table | None:
    """Return the table beside the folder of a split that has its name, such as train.csv, and labels of its pictures."""
    for name in label_tables.candidates(tree):
        if split.lower() in name.lower():
            table = label_tables.parse(name, tree.read(name))
            if len(table.columns) > 1 and label_tables.covers(table, pictures):
                return table
    return None


def _by_table(table: Table, pictures: list[str], options: Options, *, held_out: bool = False) -> Layout:
    if table.name == label_tables.STYLEGAN and not table.rows:  # StyleGAN's way to say so.
        unlabelled = _unlabelled(pictures)
        return dataclasses.replace(
            unlabelled, notes=(f"{table.name} has no labels: the set has no classes", *unlabelled.notes)
        )
    found = label_tables.labels(table, pictures, options.label_key, held_out=held_out)
    folders = _split_folders(pictures)
    split_of = lambda path: folders.get(_first(path), "train")
    if found.split and all(map(split_named, found.split.values())):
        split_of = lambda path: split_named(found.split.get(path, "train"))
    missing, notes = [path for path in pictures if path not in found.label], list(found.notes)
    for_training = [path for path in missing if split_of(path) == "train"]
    if held_out := len(missing) - len(for_training):  # Test pictures often have no labels.
        notes.append(f"left out: {held_out:,} held-out pictures without a label")
    if for_training:
        what = f"have no label in {table.name}, such as {for_training[0]}"
        notes.append(left_out(for_training, len(pictures) - held_out, what, allowed=options.skip_others))
    return Layout(_dealt(found.label, split_of), tuple(notes))


def _splits(tree: Tree, splits: Mapping[str, str], options: Options) -> Layout:
    """Read ROOT/SPLIT/..., where each split has folders of classes, or a table."""
    ways = *(f"in:{top}" for top in splits if splits[top] == "train"), "none", "folders"
    others = sorted({_first(path) for path in pictures_of(tree, options)} - set(splits))
    if others:
        raise UnclearError(f"--in={tree.where} has {some(others)} beside the splits {', '.join(splits)}", *ways)
    if "train" not in splits.values() or len(set(splits.values())) < len(splits):
        raise UnclearError(
            f"--in={tree.where} has the splits {', '.join(splits)}, but needs train, and each once", *ways
        )
    notes = [f"splits are the folders {', '.join(splits)}"]
    found: dict[str, dict[str, str]] = {}
    for top, split in sorted(splits.items(), key=lambda item: item[1] != "train"):
        sub = tree.below(top)
        pictures = pictures_of(sub, options)
        folders, known = {_folder(path) for path in pictures}, set(found.get("train", {}).values())
        if len(folders) == 1 and not folders & known:
            table = _known_table(sub, pictures) or _beside(sub, pictures) or _named_after(tree, top, pictures)
            if table is None and split != "train":
                notes.append(f"left out: {len(pictures):,} pictures of {top}, which have no labels")
                continue
            if table is None and folders == {""}:
                raise UnclearError(f"the pictures in {tree.where}/{top} have no labels", "prefix", *ways)
            layout = (
                structure(sub, options)
                if table is None
                else _by_table(table, pictures, options, held_out=split != "train")
            )
        else:
            layout = structure(sub, options)
        if set(layout.splits) != {"train"}:
            raise UnclearError(f"{tree.where}/{top} has splits of its own", *ways)
        found[split] = {f"{top}/{path}": name for path, name in layout.splits["train"].items()}
        notes += [f"{top}: {note}" for note in layout.notes]
    _refuse_new_classes(tree, found)
    return Layout(found, tuple(notes))


def _refuse_new_classes(tree: Tree, found: Mapping[str, Mapping[str, str]]) -> None:
    """Raise UnclearError if a held-out split has classes without pictures for training."""
    known = set(found.get("train", {}).values())
    for rows in found.values():
        if new := sorted(set(rows.values()) - known):
            top = _first(next(path for path, name in rows.items() if name == new[0]))
            ways = "in:train", "none", f"moving {top}/{new[0]} elsewhere"
            raise UnclearError(f"{tree.where}/{top} has classes that train lacks: {some(new)}", *ways)


def _each(tops: Iterable[str]) -> list[str]:
    return [f"in:{top}" for top in tops]


def _domains(tree: Tree, pictures: list[str]) -> Layout:
    """Read CycleGAN's folders trainA, trainB, testA, testB as splits of two classes."""
    found = _dealt({path: _first(path)[-1] for path in pictures}, lambda path: split_named(_first(path)[:-1]))
    if len(set(found.get("train", {}).values())) < 2:
        raise UnclearError(f"--in={tree.where} lacks trainA or trainB", "none", "folders")
    return Layout(found, ("splits and the classes A and B are those of the folders trainA, trainB, ...",))


def _classes(tree: Tree, pictures: list[str], options: Options) -> Layout:
    """Read ROOT/CLASS/FILE."""
    depth = lambda *depths: [path for path in pictures if min(path.count("/"), 2) in depths]
    loose, direct, nested = depth(0), depth(1), depth(2)
    tops = {_first(path) for path in direct + nested}
    if not tops:
        what = f"must have a folder of pictures for each class, but it has {len(loose)} pictures and no folders"
        also = f"--labels=FILE with a table of files and classes; moving them to {tree.where}/CLASS/"
        raise UnclearError(f"--in={tree.where} {what}", "prefix", "none", also)
    for name in label_tables.KNOWN:
        if own := sorted(top for top in tops if f"{top}/{name}" in tree.sizes):
            raise UnclearError(
                f"--in={tree.where} has folders with a table of their own, such as {own[0]}/{name}", *_DEEP
            )
    if not direct:
        inner = {_folder(path).partition("/")[2] for path in nested}
        if len(inner) == 1 and len(tops) > 1:  # Such as CLASS/images/FILE.
            note = f"the pictures of each class are in its folder {inner.pop()}"
            return Layout({"train": {path: _first(path) for path in nested}}, (note,))
        ways = _DEEP[len(tops) == 1 :]  # One first folder is no class.
        raise UnclearError(f"no folder in --in={tree.where} has pictures of its own, only deeper ones", *ways)
    if loose:
        stray = f"{len(loose)} pictures outside its class folders, such as {loose[0]}"
        raise UnclearError(f"--in={tree.where} has {stray}", "none", "moving them into one")
    empty = sorted({_first(path) for path in tree.folders} - tops - {_first(path) for path in tree.left_out})
    if empty:
        has = f"{len(empty)} folders in --in={tree.where} have no pictures: {some(empty)}"
        raise UnclearError(has, "moving them elsewhere, or pictures of their class into them", "none")
    _refuse_blocks(tree, direct)
    notes = _about_names(tree, tops, pictures)
    if nested:
        hollow = tops - {_first(path) for path in direct}
        named = f"{len(nested):,} of {len(pictures):,} pictures deeper than CLASS/FILE, such as {nested[0]}"
        if (hollow or len(nested) > MOST_LEFT_OUT * len(pictures)) and not options.skip_nested:
            raise UnclearError(f"--in={tree.where} has {named}", *_DEEP, "skip_nested")
        also = f"; with them the classes {some(sorted(hollow))}" if hollow else ""
        notes.append(f"left out: {named}{also}")
    return Layout({"train": {path: _first(path) for path in direct}}, tuple(notes))


_DEEP = "folders", "parent", "none"


def _about_names(tree: Tree, tops: set[str], pictures: list[str]) -> list[str]:
    """Return sentences about folders whose names are no classes'. Raises UnclearError if something else looks like classes."""
    top, inside = min(tops), prefixes(pictures)
    if len(tops) > 1:
        if all(map(is_generic, tops)):
            what = f"whose folders {some(sorted(tops))} have no names of classes"
            alone = f"--in={tree.where}/{top} --labels=none: those of {top} alone"
            raise UnclearError(f"--in={tree.where} has pictures {what}", alone, "none", "folders")
        return []
    if is_generic(top):
        what = f"the only folder is {top}, which is no name of a class"
        if inside:
            raise UnclearError(
                f"in --in={tree.where} {what}, and file names begin with {some(inside)}", "prefix", "none", "folders"
            )
        return [f"{what}: the set has no classes"]
    also = f"; file names begin with {some(inside)}: --labels=prefix makes them classes" if inside else ""
    return [f"the only folder is {top}: the set has one class{also}"]


def _refuse_blocks(tree: Tree, direct: list[str]) -> None:
    """Raise UnclearError if the folders only divide a numbered series, as StyleGAN's and FFHQ's do: 00000/00000.png, ..."""
    tops = {_first(path) for path in direct}
    if len(tops) < 2 or not all(len(top) > 3 and top.isdecimal() for top in tops):
        return
    numbers = collections.defaultdict(list)
    for path in direct:
        found = re.search(r"(\d+)\.\w+$", path)
        if not found:
            return
        numbers[_first(path)].append(int(found[1]))
    spans = [(min(numbers[top]), max(numbers[top])) for top in sorted(tops)]
    if all(before[1] < after[0] for before, after in itertools.pairwise(spans)):
        what = f"look like parts of one numbered series, such as {direct[0]}, not like classes"
        also = "--labels=FILE with a table of files and classes"
        raise UnclearError(f"the folders in --in={tree.where} {what}", "none", "folders", also)


def _in_folders(tree: Tree, pictures: list[str]) -> list[str]:
    loose = [path for path in pictures if "/" not in path]
    if loose:
        stray = f"{len(loose)} pictures outside folders, such as {loose[0]}"
        raise UnclearError(f"--in={tree.where} has {stray}", "none", "moving them into one")
    return pictures


def _parents(pictures: list[str]) -> dict[str, str]:
    """Label pictures with the name of their folder, or with its path if two folders have one name."""
    folders = {_folder(path) for path in pictures}
    count = collections.Counter(folder.rpartition("/")[2] for folder in folders)
    name = {folder: folder if count[folder.rpartition("/")[2]] > 1 else folder.rpartition("/")[2] for folder in folders}
    return {path: name[_folder(path)] for path in pictures}


def _split_folders(pictures: Iterable[str]) -> dict[str, str]:
    """Return the splits that the first folders are named after; {} if they are classes or something else."""
    pictures = list(pictures)
    tops = sorted(set(map(_first, pictures)))
    if any("/" not in path for path in pictures):
        return {}
    splits = {top: split_named(top) for top in tops if split_named(top)}
    if len(tops) == 1:  # ROOT/train/FILE is one class.
        return splits if all(path.count("/") > 1 for path in pictures) and "train" in splits.values() else {}
    has_both = "train" in splits.values() and len(set(splits.values())) > 1
    return splits if len(splits) == len(tops) or has_both else {}


def split_named(name: str) -> str:
    """Return train, validation or test; "" for a name that is no split's."""
    found = _SPLIT.fullmatch(name.strip())
    return "" if not found else "train" if found[1] else "validation" if found[2] else "test"


def _dealt(labels: Mapping[str, str], split_of: Callable[[str], str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path, name in labels.items():
        found.setdefault(split_of(path), {})[path] = name
    return found


def _first(path: str) -> str:
    return path.partition("/")[0]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
