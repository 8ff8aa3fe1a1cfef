"""Owns the look at a set before it is trained on: what is in it, and what would make training it a waste.

It must not know networks, nor how images are stored.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.runtime.files import write_text
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

FILE = "check.json"
"""Beside a prepared set: what `prepare` saw of all of it."""

NAMED = 20
"""Of unreadable files, duplicates and empty classes so many are named; all are counted."""


def summary(
    labels: Sequence[int],
    names: Sequence[str],
    *,
    sizes: Sequence[tuple[int, int]] = (),
    unreadable: Sequence[str] = (),
    digests: Sequence[int] = (),
    files: Callable[[int], str] = str,
    of: int | None = None,
) -> dict[str, Any]:
    """What there is to say of a set, for people and for JSON.

    labels: of each readable image; likewise sizes, (width, height), digests, 64 bits of a hash of its file. files(i): what
    to call the i-th. names: of the classes, in order. unreadable: what and why. of: how many there are, if more.
    """
    labels, sizes = np.asarray(labels, np.int64), np.asarray(sizes).reshape(-1, 2)
    counts = np.bincount(labels, minlength=len(names))
    seen = len(labels) + len(unreadable)
    spread = lambda values: [int(np.min(values)), int(np.median(values)), int(np.max(values))] if len(values) else None
    empty = [names[i] for i in np.flatnonzero(counts == 0).tolist()]
    pairs = _in_two_classes(np.asarray(digests, np.uint64), labels, files)
    return {
        "images": len(labels),
        "share_seen": seen / of if of else 1.0,
        "of": of or seen,
        "classes": len(names),
        "images_per_class": spread(counts),
        "labels": [int(labels.min()), int(labels.max())] if len(labels) else None,
        "width": spread(sizes[:, 0]),
        "height": spread(sizes[:, 1]),
        "empty_classes": len(empty),
        "empty_classes_named": empty[:NAMED],
        "unreadable": len(unreadable),
        "unreadable_named": sorted(unreadable)[:NAMED],
        "in_two_classes": len(pairs),
        "in_two_classes_named": pairs[:NAMED],
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The summary for people."""
    low, median, high = found["images_per_class"] or (0, 0, 0)
    part = "" if found["share_seen"] == 1 else f" (of a sample: {found['share_seen']:.2%} of the set)"
    text = [
        f"{found['images']:,} images in {found['classes']:,} classes, {low:,} to {high:,} a class, median {median:,}{part}"
    ]
    if found["width"]:
        (w0, w1, w2), (h0, h1, h2) = found["width"], found["height"]
        text.append(f"pixels: width {w0} to {w2}, median {w1}; height {h0} to {h2}, median {h1}")
    for key, what in (
        ("unreadable", "cannot be read"),
        ("in_two_classes", "pairs of equal files lie in two classes"),
        ("empty_classes", "classes have no images"),
    ):
        if found[key]:
            more = " ..." if found[key] > len(found[f"{key}_named"]) else ""
            text.append(f"{found[key]:,} {what}: {'; '.join(map(str, found[f'{key}_named']))}{more}")
    return text


def refuse(found: dict[str, Any], *, conditional: bool, batch_size: int, where: str) -> None:
    """Raises UserError, with what to do, if training on such a set cannot be meant."""
    if not found["images"]:
        raise UserError(
            f"of {found['unreadable']:,} records of {where} not one can be read, as {found['unreadable_named'][0]}"
        )
    count = found["images"] if found["share_seen"] == 1 else found["of"]
    if count < batch_size:
        raise UserError(
            f"{where} has {count:,} images, fewer than one batch of {batch_size:,}; lower batch_size or add images"
        )
    if not conditional:
        return
    if found["classes"] == 1:
        raise UserError(
            f"{where} has one class, so labels mean nothing: the folder may be a level too high or too low "
            "(ROOT/CLASS/PICTURE is what is read); for a set without classes, set model.num_classes=0"
        )
    if found["empty_classes"] and found["share_seen"] == 1:
        some = ", ".join(found["empty_classes_named"][:5])
        raise UserError(
            f"{where} has {found['empty_classes']} classes without images ({some}): nothing can be learnt of them; "
            "prepare it without, or add images"
        )
    low, high = found["labels"]
    if low == high:
        raise UserError(
            f"every label seen in {where} is {low}: the folder may be a level too high or too low; prepare it again"
        )


def before_training(source: Any, config: ml_collections.ConfigDict, workdir: epath.Path, *, write: bool) -> None:
    """Says what the run's data are, stores that as data.json in its folder, and refuses what makes no sense."""
    if config.data.name == "fake":
        return
    found = look(source)
    for line in lines(found):
        logger.info("data: %s", line)
    where = config.data.dir or config.data.dataset or f"data.name {config.data.name}"
    refuse(found, conditional=config.model.num_classes > 0, batch_size=config.batch_size, where=str(where))
    if write:
        write_text(workdir / "data.json", json.dumps(found, indent=2))


def store(folder: epath.Path, found: dict[str, Any]) -> None:
    """Keeps it beside a prepared set, whole or not at all."""
    write_text(folder / FILE, json.dumps(found, indent=2))


SAMPLE = 1024
"""Records that are read of a set which has no check.json."""


def look(source: Any, sample: int | None = SAMPLE) -> dict[str, Any]:
    """The summary of a source: of all of it if it is in memory or was checked when it was prepared, else of a sample."""
    names = getattr(source, "class_names", None) or [str(i) for i in range(source.num_classes)]
    if hasattr(source, "labels"):
        shape = source.images.shape
        return summary(
            source.labels if source.num_classes else [0] * len(source), names or ["0"], sizes=[shape[2:0:-1]]
        )
    if sample is not None and source.checked:
        return source.checked
    count = len(source)
    numbers = range(count) if sample is None else np.unique(np.linspace(0, count - 1, min(sample, count)).astype(int))
    return summary(**source.examine(numbers), names=names, of=count)


def _in_two_classes(digests: np.ndarray, labels: np.ndarray, files: Callable[[int], str]) -> list[list[str]]:
    """Pairs of neighbours, among those with equal files, whose labels differ."""
    order = np.argsort(digests, kind="stable")
    same = np.flatnonzero(digests[order][1:] == digests[order][:-1])
    pairs = [(order[i], order[i + 1]) for i in same]
    return [[files(a), files(b)] for a, b in pairs if labels[a] != labels[b]]
