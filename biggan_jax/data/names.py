"""Names of folders and files: those of splits, and those that are no class's."""

import re
from collections.abc import Iterable

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
DOMAIN = re.compile(r"(train|val|test)([AB])")


def split_named(name: str) -> str:
    """Return train, validation or test; "" for a name that is no split's."""
    found = _SPLIT.fullmatch(name.strip())
    return "" if not found else "train" if found[1] else "validation" if found[2] else "test"


def split_folders(pictures: Iterable[str]) -> dict[str, str]:
    """Return the splits that the first folders are named after; {} if they are classes or something else."""
    pictures = list(pictures)
    tops = sorted(set(map(top_of, pictures)))
    if any("/" not in path for path in pictures):
        return {}
    splits = {top: split_named(top) for top in tops if split_named(top)}
    if len(tops) == 1:  # ROOT/train/FILE is one class.
        return splits if all(path.count("/") > 1 for path in pictures) and "train" in splits.values() else {}
    has_both = "train" in splits.values() and len(set(splits.values())) > 1
    return splits if len(splits) == len(tops) or has_both else {}


def is_generic(name: str) -> bool:
    """Whether a folder or file of this name has pictures of no class in particular: images, data, IMG; or a split's."""
    return bool(split_named(name) or _GENERIC.fullmatch(name.strip()))


def top_of(path: str) -> str:
    """Return the first folder of a path; of a file in no folder its name."""
    return path.partition("/")[0]


def folder_of(path: str) -> str:
    """Return the folder of a path; "" for a file in no folder."""
    return path.rpartition("/")[0]
