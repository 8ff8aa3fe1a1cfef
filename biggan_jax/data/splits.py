"""The order of classes, and which pictures of each class are held out."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from biggan_jax.data.records import digest
from biggan_jax.types import UserError

T = TypeVar("T")


def class_order(names: Sequence[str], order: str) -> list[str]:
    """Sort class names: by name, or, if order is natural and all are integers, by these.

    >>> class_order(["0", "1", "10", "2"], "natural")
    ['0', '1', '2', '10']
    """
    if order == "natural" and all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def held_out(labels: Mapping[str, int], names: Sequence[str], count: int, how: str, seed: int) -> set[str]:
    """Return `count` pictures of each class. labels: picture to label.

    how: random takes those whose hash with the seed is smallest, so that a picture that is added moves few others; last takes
    the last by name. Raises UserError if a class has no picture left.
    """
    by_class: dict[int, list[str]] = {}
    for path in sorted(labels):
        by_class.setdefault(labels[path], []).append(path)
    chosen: set[str] = set()
    for label, paths in sorted(by_class.items()):
        if len(paths) <= count:
            name = names[label]
            raise UserError(f"--held_out={count} leaves class {name} nothing to train on; it has {len(paths)}")
        if how == "random":
            paths.sort(key=lambda path: digest(f"{seed}:{path}".encode(errors="surrogateescape")))
        chosen.update(paths[:count] if how == "random" else paths[-count:])
    return chosen


def divided(
    found: Mapping[str, Sequence[T]],
    name_of: Callable[[T], str],
    count: int,
    how: str,
    seed: int,
    what: str,
    one_class: str,
) -> dict[str, list[T]]:
    """Move `count` items of the split train, chosen as by `held_out`, to test; 0: as they are. what: names the items.

    Raises UserError if there are other splits already.
    """
    if not count:
        return {split: list(items) for split, items in found.items()}
    if len(found) > 1:
        others = ", ".join(split for split in found if split != "train")
        raise UserError(f"--held_out has no effect: the {what} already have the split {others}; leave it out")
    items = {name_of(item): item for item in found["train"]}
    held = held_out(dict.fromkeys(items, 0), (one_class,), count, how, seed)
    return {
        "train": [item for name, item in items.items() if name not in held],
        "test": [item for name, item in items.items() if name in held],
    }
