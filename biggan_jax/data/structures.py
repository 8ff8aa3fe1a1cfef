"""The structures that a set of pictures is read in: a table, folders of splits, folders of classes."""

import collections
import itertools
import re
from collections.abc import Iterable, Mapping

from biggan_jax.config import some
from biggan_jax.data import found_tables, label_tables
from biggan_jax.data.labelled import MOST_LEFT_OUT, Layout, Options, UnclearError, dealt, pictures_of, unlabelled
from biggan_jax.data.names import DOMAIN, folder_of, is_generic, split_folders, split_named, top_of
from biggan_jax.data.prefixes import by_prefix, prefixes
from biggan_jax.data.trees import Tree


def structure(tree: Tree, options: Options) -> Layout:
    """Label the pictures of a tree. Raises UnclearError if its structure is not one of those that are read."""
    pictures = pictures_of(tree, options)
    if options.labels in ("folders", "parent"):
        return _by_folders(tree, _in_folders(tree, pictures), options.labels)
    if options.labels == "prefix":
        return by_prefix(tree, pictures, options)
    if options.labels == "none":
        return unlabelled(pictures)
    if options.labels != "auto":
        return found_tables.by_table(found_tables.given(tree, options.labels), pictures, options)
    if table := found_tables.known(tree, pictures):
        return found_tables.by_table(table, pictures, options)
    if all(DOMAIN.fullmatch(top_of(path)) for path in pictures):
        return _domains(tree, pictures)
    if splits := split_folders(pictures):
        return _splits(tree, splits, options)
    in_one_folder = len({folder_of(path) for path in pictures}) == 1
    if in_one_folder and (table := found_tables.beside(tree, pictures)):
        return found_tables.by_table(table, pictures, options)
    return _classes(tree, pictures, options)


def set_folder(tree: Tree, options: Options) -> str:
    """Return the folder with all pictures, which it divides into splits: ILSVRC/Data/CLS-LOC of ImageNet; "" if there is none.

    A table of labels beside it comes first: it may name the pictures by their paths.
    """
    pictures = pictures_of(tree, options)
    first, last = (path.split("/")[:-1] for path in (min(pictures), max(pictures)))
    shared = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    for depth in range(len(shared), 0, -1):
        folder = "/".join(shared[:depth])
        splits = split_folders(path.removeprefix(f"{folder}/") for path in pictures)
        if len(set(splits.values())) > 1 and "train" in splits.values():
            return "" if options.labels == "auto" and found_tables.known(tree, pictures) else folder
    return ""


def _by_folders(tree: Tree, pictures: list[str], how: str) -> Layout:
    """Label pictures by a folder, below the folders of splits if there are any. how: folders or parent."""
    splits = split_folders(pictures)
    if splits and "train" not in splits.values():
        raise UnclearError(
            f"--in={tree.where} has the splits {', '.join(splits)}, but needs train", *_each(splits), "none"
        )
    if others := sorted({top_of(path) for path in pictures} - set(splits)) if splits else []:
        raise UnclearError(f"--in={tree.where} has {some(others)} beside the splits {', '.join(splits)}", "none")
    notes = [f"splits are the folders {', '.join(splits)}"] if splits else []
    inner = {path: path.partition("/")[2] if splits else path for path in pictures}
    for top in splits:
        loose = [path for path, rest in inner.items() if top_of(path) == top and "/" not in rest]
        if loose and splits[top] == "train":
            raise UnclearError(f"{len(loose):,} pictures of {tree.where}/{top} are in no folder", "prefix", "none")
        if loose:
            notes.append(f"left out: {len(loose):,} pictures of {top}, which have no labels")
    inner = {path: rest for path, rest in inner.items() if "/" in rest}
    name = {rest: top_of(rest) for rest in inner.values()} if how == "folders" else _parents(list(inner.values()))
    found = dealt({path: name[rest] for path, rest in inner.items()}, lambda path: splits.get(top_of(path), "train"))
    names = {name for rows in found.values() for name in rows.values()}
    parts = {split_named(name.rpartition("/")[2]) for name in names} - {""}
    if len(parts) > 1:
        raise UnclearError(f"--labels={how} would make classes of the splits {some(sorted(names))}", *_DEEP)
    _refuse_new_classes(tree, found)
    notes += [f"the only class is {name}: the set has no classes" for name in names if len(names) == 1]
    return Layout(found, tuple(notes))


def _splits(tree: Tree, splits: Mapping[str, str], options: Options) -> Layout:
    """Read ROOT/SPLIT/..., where each split has folders of classes, or a table."""
    ways = *(f"in:{top}" for top in splits if splits[top] == "train"), "none", "folders"
    others = sorted({top_of(path) for path in pictures_of(tree, options)} - set(splits))
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
        folders, known = {folder_of(path) for path in pictures}, set(found.get("train", {}).values())
        if len(folders) == 1 and not folders & known:
            table = (
                found_tables.known(sub, pictures)
                or found_tables.beside(sub, pictures)
                or found_tables.named_after(tree, top, pictures)
            )
            if table is None and split != "train":
                notes.append(f"left out: {len(pictures):,} pictures of {top}, which have no labels")
                continue
            if table is None and folders == {""}:
                raise UnclearError(f"the pictures in {tree.where}/{top} have no labels", "prefix", *ways)
            layout = (
                structure(sub, options)
                if table is None
                else found_tables.by_table(table, pictures, options, held_out=split != "train")
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
            top = top_of(next(path for path, name in rows.items() if name == new[0]))
            ways = "in:train", "none", f"moving {top}/{new[0]} elsewhere"
            raise UnclearError(f"{tree.where}/{top} has classes that train lacks: {some(new)}", *ways)


def _each(tops: Iterable[str]) -> list[str]:
    return [f"in:{top}" for top in tops]


def _domains(tree: Tree, pictures: list[str]) -> Layout:
    """Read CycleGAN's folders trainA, trainB, testA, testB as splits of two classes."""
    found = dealt({path: top_of(path)[-1] for path in pictures}, lambda path: split_named(top_of(path)[:-1]))
    if len(set(found.get("train", {}).values())) < 2:
        raise UnclearError(f"--in={tree.where} lacks trainA or trainB", "none", "folders")
    return Layout(found, ("splits and the classes A and B are those of the folders trainA, trainB, ...",))


def _classes(tree: Tree, pictures: list[str], options: Options) -> Layout:
    """Read ROOT/CLASS/FILE."""
    depth = lambda *depths: [path for path in pictures if min(path.count("/"), 2) in depths]
    loose, direct, nested = depth(0), depth(1), depth(2)
    tops = {top_of(path) for path in direct + nested}
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
        inner = {folder_of(path).partition("/")[2] for path in nested}
        if len(inner) == 1 and len(tops) > 1:  # Such as CLASS/images/FILE.
            note = f"the pictures of each class are in its folder {inner.pop()}"
            return Layout({"train": {path: top_of(path) for path in nested}}, (note,))
        ways = _DEEP[len(tops) == 1 :]  # One first folder is no class.
        raise UnclearError(f"no folder in --in={tree.where} has pictures of its own, only deeper ones", *ways)
    if loose:
        stray = f"{len(loose)} pictures outside its class folders, such as {loose[0]}"
        raise UnclearError(f"--in={tree.where} has {stray}", "none", "moving them into one")
    empty = sorted({top_of(path) for path in tree.folders} - tops - {top_of(path) for path in tree.left_out})
    if empty:
        has = f"{len(empty)} folders in --in={tree.where} have no pictures: {some(empty)}"
        raise UnclearError(has, "moving them elsewhere, or pictures of their class into them", "none")
    _refuse_blocks(tree, direct)
    notes = _about_names(tree, tops, pictures)
    if nested:
        hollow = tops - {top_of(path) for path in direct}
        named = f"{len(nested):,} of {len(pictures):,} pictures deeper than CLASS/FILE, such as {nested[0]}"
        if (hollow or len(nested) > MOST_LEFT_OUT * len(pictures)) and not options.skip_nested:
            raise UnclearError(f"--in={tree.where} has {named}", *_DEEP, "skip_nested")
        also = f"; with them the classes {some(sorted(hollow))}" if hollow else ""
        notes.append(f"left out: {named}{also}")
    return Layout({"train": {path: top_of(path) for path in direct}}, tuple(notes))


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
    tops = {top_of(path) for path in direct}
    if len(tops) < 2 or not all(len(top) > 3 and top.isdecimal() for top in tops):
        return
    numbers = collections.defaultdict(list)
    for path in direct:
        found = re.search(r"(\d+)\.\w+$", path)
        if not found:
            return
        numbers[top_of(path)].append(int(found[1]))
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
    folders = {folder_of(path) for path in pictures}
    count = collections.Counter(folder.rpartition("/")[2] for folder in folders)
    name = {folder: folder if count[folder.rpartition("/")[2]] > 1 else folder.rpartition("/")[2] for folder in folders}
    return {path: name[folder_of(path)] for path in pictures}
