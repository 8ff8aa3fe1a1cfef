"""Pictures with labels, in splits: what a user says about them, and what is found."""

import dataclasses
from collections.abc import Callable, Mapping

from biggan_jax.data.label_tables import PICTURES
from biggan_jax.data.names import split_folders, top_of
from biggan_jax.data.trees import Tree

MOST_LEFT_OUT = 0.1  # A larger share of the pictures is left out only if a flag says so.
ONE_CLASS = "all"  # The name of the class of a set without classes.


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


def left_out(some: list[str], of: int, what: str, *, allowed: bool) -> str:
    """Return a sentence about pictures that are left out. Raises UnclearError if they are many and not `allowed`."""
    named = f"{len(some):,} of {of:,} pictures {what}"
    if len(some) > MOST_LEFT_OUT * of and not allowed:
        raise UnclearError(named, "skip_others")
    return f"left out: {named}"


def dealt(labels: Mapping[str, str], split_of: Callable[[str], str]) -> dict[str, dict[str, str]]:
    """Divide {picture: class name} into splits: {split: {picture: class name}}."""
    found: dict[str, dict[str, str]] = {}
    for path, name in labels.items():
        found.setdefault(split_of(path), {})[path] = name
    return found


def unlabelled(pictures: list[str]) -> Layout:
    """Give all pictures one class, in the splits that their first folders are named after."""
    splits = split_folders(pictures)
    if "train" not in splits.values():
        splits = {}
    found = dealt({path: ONE_CLASS for path in pictures}, lambda path: splits.get(top_of(path), "train"))
    return Layout(found, (f"splits are the folders {', '.join(splits)}",) if splits else ())
