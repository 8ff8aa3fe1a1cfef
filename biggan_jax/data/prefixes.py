"""Labels by file names, such as cat.0.jpg: the name before the number."""

import collections
import pathlib
import re
from collections.abc import Iterable

from biggan_jax.config import some
from biggan_jax.data.labelled import MOST_LEFT_OUT, Layout, Options, dealt, left_out
from biggan_jax.data.names import is_generic, split_folders, split_named, top_of
from biggan_jax.data.trees import Tree

FILES_EACH = 2  # Files that share a name before their numbers, in the mean, from which such names look like classes.


def by_prefix(tree: Tree, pictures: list[str], options: Options) -> Layout:
    """Label pictures by their file names, such as cat.0.jpg, in the splits of the first folders, if they are any."""
    splits = split_folders(pictures) or {top: split_named(top) for top in map(top_of, pictures) if split_named(top)}
    if "train" not in splits.values():
        splits = {}
    split_of = lambda path: splits.get(top_of(path), "train")
    found = dealt({path: name for path in pictures if (name := prefix(path))}, split_of)
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
    for_training = [path for path in pictures if split_named(top_of(path)) in ("", "train")] or pictures
    count = collections.Counter(map(prefix, for_training))
    named = [name for name in count if re.search(r"[^\W\d_]", name) and not is_generic(name)]
    enough = sum(count[name] for name in named) >= (1 - MOST_LEFT_OUT) * len(for_training)
    return sorted(named) if len(named) > 1 and enough and len(named) * FILES_EACH <= len(for_training) else []
