"""Class names, ids and weights of a trained model, and sums of classes such as `0.5*cat + 0.5*dog - 3`."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import closest
from biggan_jax.data import features, stats, tfds
from biggan_jax.runtime.files import expand_home
from biggan_jax.sampling.ranges import parse_range
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.tools.classes")

TERM = re.compile(r"(?P<sign>[+-])?\s*(?:(?P<factor>\d+\.?\d*|\.\d+)\s*\*\s*)?(?P<name>[^\s*+-](?:[^*]*[^\s*])?)")


def read_names(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Read the class names of the training data, by id; () for data without names. Raises UserError if the data are missing."""
    if config.data.name != "tfds":
        return ()
    info, where = (
        tfds.find(config.data.dataset, config.data.dir).info,
        epath.Path(config.data.dir or config.data.dataset),
    )
    fields = features.fields_of(info.features, where, features.keys_of(config))
    return features.class_names(info.features, fields.label)


def recorded_names(trained: TrainedGenerator) -> tuple[str, ...]:
    """Return the class names, by id, that the run of this checkpoint recorded; () if it did not."""
    return _fitting(stats.recorded_names(trained.workdir) or (), trained)


def find_names(trained: TrainedGenerator, data_dir: str | None = None) -> tuple[str, ...]:
    """Return the class names by id: those that the run recorded, or those of the data in `data_dir` or where they were.

    () if they are missing or have no names. Raises UserError if they are missing in `data_dir`.
    """
    if not data_dir and (recorded := stats.recorded_names(trained.workdir)) is not None:
        return _fitting(recorded, trained)
    config = trained.config.copy_and_resolve_references()
    config.data.dir = data_dir or config.data.dir
    try:
        names = read_names(config) if trained.gan.num_classes else ()
    except UserError as error:
        if data_dir:
            raise
        logger.info("class names are not available, ids are used instead: %s", error)
        return ()
    return _fitting(names, trained)


def _fitting(names: tuple[str, ...], trained: TrainedGenerator) -> tuple[str, ...]:
    """Return the names, or () if they are not those of the model's classes."""
    return names if len(names) == trained.gan.num_classes else ()


def labels_of(trained: TrainedGenerator, data_dir: str | None = None) -> Sequence[str]:
    """Return a label for each class: its name, else "class 3"; [""] for an unconditional model."""
    return find_names(trained, data_dir) or [f"class {i}" for i in range(trained.gan.num_classes)] or [""]


def id_of(name: str, num_classes: int, names: Callable[[], Sequence[str]]) -> int:
    """Return the class of this id or name; `names` is called for names only. Raises UserError that tells the nearest name."""
    if not num_classes:
        raise UserError(f"class {name}: this model is unconditional; it has no classes")
    if name.isdecimal():
        if int(name) >= num_classes:
            raise UserError(f"class {name} is out of range: this model has classes 0 to {num_classes - 1}")
        return int(name)
    known = names()
    if name in known:
        return known.index(name)
    near = closest(name, known)
    hint = f"did you mean {near!r}" if near else f"give an id from 0 to {num_classes - 1}"
    if not known:
        hint = f"the names of this model's classes are not known; {hint}"
    if any("," in one for one in known):
        hint += "; names with a comma are given by id"
    if "+" in name or "-" in name:
        hint += ", with spaces around + and - in a sum"
    raise UserError(f"class {name!r} is unknown; {hint}")


def ids_of(given: Sequence[str], num_classes: int, names: Callable[[], Sequence[str]]) -> np.ndarray:
    """Return the classes of a list of ids, ranges such as 0-9, names and `all`, in its order, int32 [N].

    names: called for names only. num_classes: 0 for an unconditional model, whose only class is 0. Raises UserError.
    """
    ids: list[int] = []
    for text in map(str.strip, given):
        numbers = range(max(num_classes, 1)) if text == "all" else parse_range(text)
        if numbers is None:
            numbers = range(at := id_of(text, num_classes, names), at + 1)
        elif numbers[-1] >= max(num_classes, 1):
            id_of(str(numbers[-1]), num_classes, names)  # It says why it is none.
        ids += numbers
    return np.array(ids, np.int32)


def terms(text: str) -> list[tuple[float, str]]:
    """Return (factor, name) of each term, in order. Raises UserError if `text` is not such a sum.

    + and - between terms need a space on both sides, because names, such as those of files, may contain them.

    >>> terms("0.5*cat + 0.5*dog - siamese-cat")
    [(0.5, 'cat'), (0.5, 'dog'), (-1.0, 'siamese-cat')]
    """
    first, *rest = re.split(r"\s([+-])(?=\s|$)", text)
    found = []
    for sign, term in zip(["+", *rest[::2]], [first, *rest[1::2]], strict=True):
        match = TERM.fullmatch(term.strip())
        if not match:
            raise UserError(f"{text!r} is not a sum such as 207 - 281 + 0.5*3, with spaces around + and -")
        negative = (sign == "-") != (match["sign"] == "-")
        found.append((float(match["factor"] or 1) * (-1 if negative else 1), match["name"]))
    return found


def row_of(name: str) -> tuple[str, int]:
    """Split FILE.npz:ROW into file and row; the row defaults to 0."""
    path, _, row = name.rpartition(":")
    path, number = (path, int(row)) if path and row.isdecimal() else (name, 0)
    return expand_home(path), number


def class_weights(terms: Iterable[tuple[float, int]], num_classes: int) -> np.ndarray:
    """Add up classes, each times its factor, to weights for G's y, float32 [num_classes]. G is linear in them at first."""
    weights = np.zeros(num_classes, np.float32)
    for factor, label in terms:
        weights[label] += np.float32(factor)
    return weights


def as_weights(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Convert labels int [N], or weights, to weights over classes, float32 [N, num_classes]."""
    if y.ndim == 2 or not num_classes:
        return y.reshape(len(y), -1)[:, :num_classes].astype(np.float32)
    return np.eye(num_classes, dtype=np.float32)[y]
