"""Find out how the pictures of a tree are labelled, or refuse it with flags that were tried and work."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any

from biggan_jax.config import some
from biggan_jax.data import structures
from biggan_jax.data.labelled import MOST_LEFT_OUT, Layout, Options, UnclearError, left_out, pictures_of
from biggan_jax.data.names import split_named
from biggan_jax.data.prefixes import prefixes
from biggan_jax.data.structures import structure
from biggan_jax.data.trees import Tree
from biggan_jax.types import UserError

ARRAYS = (".npy", ".npz")
"""Suffixes of arrays, which are pictures too if all their channels are kept."""

NOT_READ = (
    *(".heic", ".heif", ".jxl", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga", ".svg", ".eps", ".psd", ".ico", ".exr"),
    *(".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".dcm", ".nii", ".fits", *ARRAYS),
)
"""Suffixes of pictures that are not read."""

LEVELS, SUGGESTED = 6, 3  # Levels below the root at which a set is looked for, and folders that a message suggests.

WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({"labels": "none"}, "--labels=none: no classes"),
    "folders": ({"labels": "folders"}, "--labels=folders: the first folder is the class"),
    "parent": ({"labels": "parent"}, "--labels=parent: the folder of the picture is the class"),
    "prefix": ({"labels": "prefix"}, "--labels=prefix: the file name before its number is the class"),
    "skip_nested": ({"skip_nested": True}, "--skip_nested: they are left out"),
    "skip_others": ({"skip_others": True}, "--skip_others: they are left out"),
}
"""What an UnclearError may suggest: the options, and the text of the message."""


def read(tree: Tree, options: Options = Options()) -> Layout:  # noqa: B008  Frozen.
    """Label the pictures of a tree. Raises UserError if that is not clear; each flag that the message suggests works."""
    if (
        pictures_of(tree, options)
        and options.labels in ("auto", *WAYS)
        and (folder := structures.set_folder(tree, options))
    ):
        return _moved(read(tree.below(folder), options), folder)
    try:
        return _read(tree, options)
    except UnclearError as error:
        folders = _readable_folders(tree, options)
        if tree.is_zip and len(folders) == 1:
            return _moved(_read(tree.below(folders[0]), options), folders[0])
        ways = [way for way in (f"in:{folder}" for folder in folders) if way not in error.ways]
        texts = [text for way in [*ways, *error.ways] if (text := _suggestion(tree, options, way))]
        raise UserError(f"{error}; what works: {'; '.join(texts)}" if texts else str(error)) from None


def _suggestion(tree: Tree, options: Options, way: str) -> str:
    """Return the text for a way to read the tree; "" if it does not work."""
    if way.startswith("in:"):
        folder = way.removeprefix("in:")
        text = (
            f"extract it, and give its folder {folder}"
            if tree.is_zip
            else f"--in={tree.where}/{folder}: it can be read"
        )
        return text if _works(tree.below(folder), options) else ""
    changes, text = WAYS.get(way, ({}, way))
    if way == "prefix" and not prefixes(pictures_of(tree, options)):
        return ""
    return text if not changes or _works(tree, dataclasses.replace(options, **changes)) else ""


def _read(tree: Tree, options: Options) -> Layout:
    if not pictures_of(tree, options):
        raise UserError(f"--in={tree.where} has no pictures ({', '.join(options.suffixes)}){_what_else(tree, options)}")
    notes = _unread(tree, options)
    found = structure(tree, options)
    _check_names({name for rows in found.splits.values() for name in rows.values()})
    return Layout(found.splits, (*notes, *found.notes))


def _moved(found: Layout, folder: str) -> Layout:
    splits = {split: {f"{folder}/{path}": name for path, name in rows.items()} for split, rows in found.splits.items()}
    return Layout(splits, (f"the set is in the folder {folder}", *found.notes))


def _unread(tree: Tree, options: Options) -> list[str]:
    """Return sentences about entries that cannot be read. Raises UnclearError if they are many."""
    total, notes = len(pictures_of(tree, options)), []
    is_ours = lambda path: path.lower().endswith(options.suffixes) or path in tree.folders or "." not in path
    broken = [path for path in tree.left_out if is_ours(path)]
    unknown = [path for path in tree.sizes if path.lower().endswith(NOT_READ)]
    unknown = [path for path in unknown if not path.lower().endswith(options.suffixes)]
    if broken:
        reasons = some([f"{path} ({tree.left_out[path]})" for path in broken])
        what = f"cannot be read: {reasons}"
        notes.append(left_out(broken, total + len(broken), what, allowed=options.skip_others))
    if unknown:
        kinds = collections.Counter("." + path.rpartition(".")[2].lower() for path in unknown)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        how = "give --channels" if set(kinds) <= set(ARRAYS) else "convert them"
        what = f"are of formats that are not read ({listed}; {how})"
        notes.append(left_out(unknown, total + len(unknown), what, allowed=options.skip_others))
    others = [path for path in tree.sizes if "/" in path and not path.lower().endswith((*options.suffixes, *NOT_READ))]
    if others:
        kinds = collections.Counter(f".{name.rpartition('.')[2]}" if "." in name else "no suffix" for name in others)
        notes.append(
            f"skipped {len(others):,} other files: {some([f'{n:,} {kind}' for kind, n in kinds.most_common()])}"
        )
    return notes


def _what_else(tree: Tree, options: Options) -> str:
    """Return a hint for a tree without pictures."""
    if tree.left_out:
        path, why = next(iter(tree.left_out.items()))
        return f"; {len(tree.left_out):,} entries cannot be read, such as {path}: {why}"
    kinds = collections.Counter("." + path.rpartition(".")[2].lower() for path in tree.sizes)
    if not kinds:
        return "; it is empty"
    for suffix, way in ((".zip", "zip"), (".parquet", "hf"), (".arrow", "hf"), (".tfrecord", "examples")):
        if kinds[suffix]:
            return f"; --from={way} reads files such as {next(path for path in tree.sizes if path.endswith(suffix))}"
    if kinds[".tar"] or kinds[".gz"]:
        return "; it has archives: ImageNet's tars need --from=imagenet, CIFAR's --from=cifar10; extract others"
    if set(kinds) & set(ARRAYS) and ARRAYS[0] not in options.suffixes:
        return "; pictures in .npy need --channels, an .npz of a whole set --from=arrays"
    return f"; it has {some([f'{count:,} {kind}' for kind, count in kinds.most_common()])}"


def _readable_folders(tree: Tree, options: Options) -> list[str]:
    """Return the folders, of the first level that has some, that can be read by themselves and hold nearly all pictures."""
    for depth in range(LEVELS):
        level = sorted(path for path in tree.folders if path.count("/") == depth)
        for_training = [path for path in level if split_named(path.rpartition("/")[2]) == "train"]
        if found := [path for path in level if _works(tree.below(path), options)]:
            held = sum(path.startswith(tuple(f"{folder}/" for folder in found)) for path in pictures_of(tree, options))
            most = (1 - MOST_LEFT_OUT) * len(pictures_of(tree, options))
            # Beside pictures for training, those that are held out are no set of their own.
            return ([path for path in found if path in for_training] or found)[:SUGGESTED] if held >= most else []
    return []


def _works(tree: Tree, options: Options) -> bool:
    try:
        _read(tree, options)
    except (UnclearError, UserError):
        return False
    return True


def _check_names(names: Iterable[str]) -> None:
    """Raise UserError for a class name that a set's list of names, one a line, would not give back."""
    for name in sorted(names):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the class name {name!a} is not UTF-8; rename its folder") from None
        if name != name.strip() or not name or "\n" in name or "\r" in name:
            raise UserError(f"the class name {name!r} has a line break, or a space at its start or end; rename it")
