"""Conversion by table: which array there (PyTorch) is which array here, and in which layout."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from biggan_jax.types import UserError

Arrays = dict[str, np.ndarray]
"""A state dict: names there to arrays."""

Network = dict
"""One network here, as nested dicts of arrays: {params, spectral, batch_stats or binned}. It is one state dict there."""

Path = tuple[str, ...]
"""Path of a leaf of a Network, such as ('params', 'block_0', 'conv_1', 'kernel') or ('spectral', 'u', 'linear', 'kernel')."""


class Layout(NamedTuple):
    """A conversion of arrays; each direction is the exact inverse of the other."""

    to_here: Callable[[np.ndarray], np.ndarray]
    to_there: Callable[[np.ndarray], np.ndarray]

    def then(self, other: "Layout") -> "Layout":
        """Compose: to_here applies this layout, then `other`; to_there the reverse."""
        return Layout(lambda a: other.to_here(self.to_here(a)), lambda a: self.to_there(other.to_there(a)))


SAME = Layout(lambda a: a, lambda a: a)
TRANSPOSED = Layout(np.transpose, np.transpose)  # Dense: [out, in] and [in, out].
CONVOLUTION = Layout(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))  # OIHW and HWIO.
ROW = Layout(lambda a: a[0], lambda a: a[None])  # [1, n] and [n], or [1] and [].


def channels_last(size: int = 4) -> Layout:
    """Axis 0 is a flattened (C, size, size) image there, and (size, size, C) here."""
    return Layout(
        lambda a: a.reshape(-1, size, size, *a.shape[1:]).transpose(1, 2, 0, *range(3, a.ndim + 2)).reshape(a.shape),
        lambda a: a.reshape(size, size, -1, *a.shape[1:]).transpose(2, 0, 1, *range(3, a.ndim + 2)).reshape(a.shape),
    )


def rotated(first_there: int, axis: int) -> Layout:
    """The axis has two pieces in reverse order; the first one there has this length."""
    return Layout(lambda a: np.roll(a, -first_there, axis), lambda a: np.roll(a, first_there, axis))


class Entry(NamedTuple):
    there: str
    here: Path
    layout: Layout


EntryOf = Callable[[Path, tuple[int, ...]], Entry]
"""(path, shape) of a leaf to its Entry."""


def table(network: Network, entry_of: EntryOf) -> list[Entry]:
    """Return the entry of every leaf of a network, given as arrays or shapes. Names there must be unique."""
    entries = [entry_of(path, leaf.shape) for path, leaf in leaves(network)]
    assert len({e.there for e in entries}) == len(entries)
    return entries


def to_here(
    arrays: Arrays, network: Network, entry_of: EntryOf, name: str, ignored: Callable[[str], bool] = lambda there: False
) -> Network:
    """Fill the network, given as shapes, from `arrays`. Raises UserError naming what in the file `name` does not fit."""
    entries, shapes = table(network, entry_of), dict(leaves(network))
    expected = {entry.there for entry in entries}
    missing = [entry.there for entry in entries if entry.there not in arrays]
    extra = [there for there in arrays if there not in expected and not ignored(there)]
    if missing or extra:
        lacks = f"lacks {_listed(missing)}" if missing else ""
        has = f"has {_listed(extra)}, which this architecture does not have" if extra else ""
        raise UserError(f"{name} {' and '.join(filter(None, (lacks, has)))}")
    filled: dict[Path, np.ndarray] = {}
    for there, here, layout in entries:
        array, like = np.asarray(arrays[there]), layout.to_there(np.empty(shapes[here].shape, np.float32))
        if array.shape != like.shape:
            raise UserError(f"{name}: {there} is {list(array.shape)}, where this architecture has {list(like.shape)}")
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{name}: {there} is {array.dtype}, not floating point")
        filled[here] = np.array(layout.to_here(array.astype(np.float32)), order="C")
        if not np.isfinite(filled[here]).all():
            raise UserError(
                f"{name}: {there} has values that are not finite; take other weights, or leave its file out"
            )
    return {**network, **traverse_util.unflatten_dict(filled)}  # Parts without arrays, such as no vectors, stay empty.


def to_there(network: Network, entry_of: EntryOf) -> Arrays:
    """Return the network's state dict, in the order of `leaves`."""
    arrays = dict(leaves(network))
    return {
        there: np.array(layout.to_there(np.asarray(arrays[here])), order="C")
        for there, here, layout in table(network, entry_of)
    }


def leaves(network: Network) -> list[tuple[Path, np.ndarray]]:
    """List the network's leaves with their paths, sorted by path."""
    return sorted(traverse_util.flatten_dict(network).items())


def _listed(names: list[str]) -> str:
    return f"{names[0]} (and {len(names) - 1} more)" if len(names) > 1 else names[0]
