"""Summaries of data sets, and the checks before training on one."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.runtime.files import write_text
from biggan_jax.runtime.text import escape
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

FILE = "check.json"  # In a prepared set's folder: the summary that `prepare` or `validate` made of all of it.
NAMED = 20  # Unreadable files, duplicates and empty classes that are named; all are counted.
SAMPLE = 1024  # Records that are read of a set without check.json.
WRONG = {
    "unreadable": "records cannot be read",
    "in_two_classes": "pairs of equal files are in two classes",
    "empty_classes": "classes have no images",
}
"""What is wrong with a set, by the key of its count."""

NOTED = {
    "too_small": "pictures are below the least size, and were left out",
    "nearly_constant": "pictures are nearly constant: all values lie within 16 of 255 levels",
}
"""What may be meant, by the key of its count."""

NEARLY_CONSTANT = 16 / 255  # A picture whose values spread no wider, as a share of all levels, is named.
MOST_IMBALANCED = 20  # Times that the largest class may exceed the smallest without a warning.


def summary(
    labels: Sequence[int],  # Of each readable image; so are sizes (width, height) and digests (64-bit hashes of files).
    names: Sequence[str],  # Of the classes, in order.
    sizes: Sequence[tuple[int, int]] = (),
    unreadable: Sequence[str] = (),  # A sentence for each unreadable record.
    digests: Sequence[int] = (),
    files: Callable[[int], str] = str,  # Returns the name of the i-th readable image.
    of: int | None = None,  # Records in the set, if these are a sample.
    too_small: Sequence[str] = (),  # Pictures that were left out, and others that are nearly constant.
    nearly_constant: Sequence[str] = (),
) -> dict[str, Any]:
    """Summarize a set, as JSON."""
    labels, sizes = np.asarray(labels, np.int64), np.asarray(sizes).reshape(-1, 2)
    sizes = sizes[sizes.any(axis=1)]  # Vectors have no size.
    counts = np.bincount(labels, minlength=len(names))
    seen = len(labels) + len(unreadable)
    spread = lambda values: [int(np.min(values)), int(np.median(values)), int(np.max(values))] if len(values) else None
    empty = [names[i] for i in np.flatnonzero(counts == 0).tolist()]
    # Equal files with different labels; of several equal files, neighbours in this order are compared.
    digests = np.asarray(digests, np.uint64)
    order = np.argsort(digests, kind="stable")
    equal = np.flatnonzero(digests[order][1:] == digests[order][:-1])
    pairs = [[files(a), files(b)] for a, b in order[[equal, equal + 1]].T if labels[a] != labels[b]]
    found: dict[str, Any] = {
        "images": len(labels),
        "share_seen": seen / of if of else 1.0,
        "of": of or seen,
        "classes": len(names),
        "images_per_class": spread(counts),
        "labels": [int(labels.min()), int(labels.max())] if len(labels) else None,
        "width": spread(sizes[:, 0]),
        "height": spread(sizes[:, 1]),
    }
    for key, named in (("empty_classes", empty), ("unreadable", sorted(unreadable)), ("in_two_classes", pairs)):
        found |= {key: len(named), f"{key}_named": named[:NAMED]}
    for key, noted in (("too_small", too_small), ("nearly_constant", nearly_constant)):
        if noted:
            found |= {key: len(noted), f"{key}_named": sorted(noted)[:NAMED]}
    return found


def summarize(source: Any, sample: int | None = SAMPLE) -> dict[str, Any]:
    """Summarize a source: all of it if it is in memory, was checked before, or `sample` is None; else a sample."""
    names = getattr(source, "class_names", None) or [str(i) for i in range(source.num_classes)]
    if not hasattr(source, "examine"):  # In memory, or made of what is.
        shape: tuple[int, ...] = source.images.shape if hasattr(source, "images") else ()
        labels = source.all_labels if source.num_classes and source.all_labels.ndim == 1 else [0] * len(source)
        return summary(labels, names or ["0"], sizes=[(shape[2], shape[1])] if len(shape) == 4 else ())
    if sample is not None and source.checked:
        return source.checked
    count = len(source)
    numbers = np.unique(np.linspace(0, count - 1, min(sample or count, count)).astype(int))
    return summary(**source.examine(numbers), names=names, of=count)


def lines(found: dict[str, Any], *, advise: bool = True) -> list[str]:
    """Format a summary for people. advise: say how to train on imbalanced classes."""
    low, median, high = found["images_per_class"] or (0, 0, 0)
    part = "" if found["share_seen"] == 1 else f" (of a sample: {found['share_seen']:.2%} of the set)"
    images = f"{found['images']:,} image{'s' * (found['images'] != 1)} in {found['classes']:,} class{'es' * (found['classes'] != 1)}"
    each = f" of {low:,}" if low == high else f", {low:,} to {high:,} per class, median {median:,}"
    text = [f"{images}{each}{part}"]
    if found["width"]:
        (w0, w1, w2), (h0, h1, h2) = found["width"], found["height"]
        width, height = (f"{a}" if a == c else f"{a} to {c}, median {b}" for a, b, c in ((w0, w1, w2), (h0, h1, h2)))
        text.append(f"pixels: width {width}; height {height}")
    if found.get("range"):
        text.append("values: {:g} to {:g}, stored as they are, without scaling".format(*found["range"]))
    if names := found.get("class_names"):
        text.append(f"classes: {listed(range(len(names)), names)}")
    if ranges := found.get("conditions"):
        named = "; ".join(f"{low:g} to {high:g}" for low, high in ranges[:NAMED])
        text.append(f"conditions: of length {len(ranges)}, stored as they are: {named}")
    if captions := found.get("captions"):
        each, size = ("{0}" if low == high else "{0} to {2}" for low, _, high in (captions["each"], captions["bytes"]))
        each, size = each.format(*captions["each"]), size.format(*captions["bytes"])
        different = f"{captions['different']:,} different"
        text.append(f"captions: {each} a picture, {different}, of {size} bytes, median {captions['bytes'][1]}")
    for what, count in found.get("converted", {}).items():
        text.append(f"converted: of {count:,} images, {what}")
    if low and high > MOST_IMBALANCED * low:
        advice = "; --config.data.balance=True draws classes evenly in training" if advise else ""
        times = f"the largest has {high / low:.0f} times the images of the smallest"
        text.append(f"classes are imbalanced: {times}{advice}")
    for key, what in (WRONG | NOTED).items():
        if found.get(key):
            more = " ..." if found[key] > len(found[f"{key}_named"]) else ""
            text.append(f"{found[key]:,} {what}: {'; '.join(map(str, found[f'{key}_named']))}{more}")
    return text


def framing(size: tuple[int, int], shape: tuple[int, ...]) -> list[str]:
    """Return sentences about what cropping and enlarging do to a picture of `size`, (height, width), read as (height, width, ...).

    >>> framing((100, 100), (64, 32, 3))
    ['pictures are cropped to the aspect of 64 x 32: 50 % of the width of one of 100 x 100 pixels is cut']
    """
    (height, width), (rows, columns) = size, shape[:2]
    # As picture.crop.
    kept = min(height, max(1, width * rows // columns)), min(width, max(1, height * columns // rows))
    text = []
    for side, have, left in zip(("height", "width"), size, kept, strict=True):
        if (share := round(100 * (have - left) / have)) > 0:
            aspect = f"pictures are cropped to the aspect of {rows} x {columns}"
            text.append(f"{aspect}: {share} % of the {side} of one of {height} x {width} pixels is cut")
    if rows > 1.02 * kept[0] or columns > 1.02 * kept[1]:  # Less is rounding.
        text.append(f"pictures of {height} x {width} pixels are enlarged to {rows} x {columns}")
    return text


def _framing_of(source: Any, found: dict[str, Any]) -> list[str]:
    """Return the sentences of `framing` about the stored pictures of a source: all of one size, or those of median size."""
    shape: tuple[int, ...] = getattr(source, "picture_shape", getattr(source, "shape", ()))
    stored = getattr(getattr(source, "fields", None), "shape", None)
    if len(shape) < 3 or not (stored or found.get("width")):
        return []
    return framing(stored[:2] if stored else (found["height"][1], found["width"][1]), shape)


def listed(ids: Sequence[int], names: Sequence[str], most: int = 10) -> str:
    """List classes as `3 = cat, 5 = dog`; as ids alone without names. Of more than `most`, the first and the last.

    >>> listed([0, 2], ("cat", "cow", "dog"))
    '0 = cat, 2 = dog'
    """
    each = [f"{i} = {names[i]}" if names and names[i] != str(i) else str(i) for i in ids]
    return ", ".join(each if len(each) <= most else [*each[: most - 1], "...", each[-1]])


def refuse(found: dict[str, Any], *, conditional: bool, batch_size: int, where: str, captioned: bool = False) -> None:
    """Raise UserError if training on such a set makes no sense; the message says what to do."""
    if not found["images"]:
        number, first = f"{found['unreadable']:,}", found["unreadable_named"][0]
        raise UserError(f"none of {number} records of {where} can be read; for example {first}")
    count = found["images"] if found["share_seen"] == 1 else found["of"]
    if count < batch_size:
        few = f"{count:,} images, fewer than one batch of {batch_size:,}"
        raise UserError(f"{where} has {few}; lower batch_size to {2 ** (count.bit_length() - 1)} or add images")
    if captioned and found.get("captions", {}).get("different") == 1:
        raise UserError(
            f"every picture of {where} has the same caption, so nothing can be learnt of them; prepare it again"
        )
    if not conditional:
        return
    level = "the folder may be a level too high or too low"
    if found["classes"] == 1:
        expected = "ROOT/CLASS/PICTURE is expected; for a set without classes, set model.num_classes=0"
        raise UserError(f"{where} has one class, so labels mean nothing: {level}; {expected}")
    if found["empty_classes"] and found["share_seen"] == 1:
        empty = f"{found['empty_classes']} classes without images ({', '.join(found['empty_classes_named'][:5])})"
        raise UserError(f"{where} has {empty}: nothing can be learnt of them; prepare it without them, or add images")
    low, high = found["labels"]
    if low == high:
        raise UserError(f"every label seen in {where} is {low}: {level}; prepare it again")


def before_training(source: Any, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Log a summary of the training data and return it; empty for fake data. Raises UserError for unsuitable data."""
    if config.data.name == "fake":
        return {}
    found = summarize(source)
    if names := getattr(source, "class_names", ()):
        found = {**found, "class_names": list(names)}
    conditional, balance = config.model.num_classes > 0, config.data.balance
    text = [*lines(found, advise=conditional and not balance), *getattr(source, "notes", ())]
    text += _framing_of(source, found)
    for line in text:
        logger.info("data: %s", line)
    if balance:
        logger.info("data: classes are drawn evenly, since data.balance is set")
    captioned = bool(getattr(source, "caption_length", 0))
    refuse(found, conditional=conditional, batch_size=config.batch_size, where=named(config), captioned=captioned)
    dtype = str(getattr(source, "dtype", "uint8"))
    return found if dtype == "uint8" else {**found, "dtype": dtype}


def named(config: ml_collections.ConfigDict) -> str:
    """Return what messages call the config's data set."""
    return str(config.data.dir or config.data.dataset or f"data.name {config.data.name}")


def recorded_names(workdir: epath.PathLike) -> tuple[str, ...] | None:
    """Read the class names, by id, that are recorded in a run's data.json; None if none are, () if there are no names."""
    try:
        names = json.loads((epath.Path(workdir) / "data.json").read_text()).get("class_names")
        return None if names is None else tuple(escape(str(name)) for name in names)
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def store(path: epath.Path, found: dict[str, Any]) -> None:
    """Write a summary atomically."""
    write_text(path, json.dumps(found, indent=2))
