"""Owns what classes are called: ids, and names where the checkpoint's data say them. Must not know what is done with them."""

import difflib
from collections.abc import Callable, Sequence

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import tfds
from biggan_jax.types import UserError


def names_of(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """By id, as the prepared set says that was trained on; empty for other data. Raises UserError if the set is not there."""
    if config.data.name != "tfds":
        return ()
    info = tfds.find(config.data.dataset, config.data.dir).info
    fields = tfds.fields_of(info.features, epath.Path(config.data.dir or config.data.dataset))
    return tuple(info.features[fields.label].names)


def id_of(name: str, num_classes: int, names: Callable[[], Sequence[str]]) -> int:
    """The class of that id or name; names() is called only if it is no id. Raises UserError, with the nearest name, if none."""
    if not num_classes:
        raise UserError(f"class {name}: this model is unconditional, it has no classes")
    if name.isdecimal():
        if int(name) >= num_classes:
            raise UserError(f"class {name} is out of range: this model has classes 0 to {num_classes - 1}")
        return int(name)
    known = names()
    if name in known:
        return known.index(name)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}" if near else f"give an id from 0 to {num_classes - 1}"
    if not {"+", "-"}.isdisjoint(name):
        hint += ", with spaces around + and - in a sum"
    raise UserError(f"class {name!r} is not known; {hint}")


def as_weights(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels int [N], or weights over classes, as weights float32 [N, num_classes], which are [N, 0] without classes."""
    if y.ndim == 2 or not num_classes:
        return y.reshape(len(y), -1)[:, :num_classes].astype(np.float32)
    return np.eye(num_classes, dtype=np.float32)[y]
