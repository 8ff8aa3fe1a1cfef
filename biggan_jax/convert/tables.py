"""Conversion by table: which array there is which array here."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from biggan_jax.convert.layouts import Layout
from biggan_jax.types import UserError

Arrays = dict[str, np.ndarray]
"""A state dict: names there to arrays."""

Network = dict
"""One network here, as nested dicts of arrays: {params, spectral, batch_stats or binned}. It is one state dict there."""

Path = tuple[str, ...]
"""Path of a leaf of a Network, such as ('params', 'block_0', 'conv_1', 'kernel') or ('spectral', 'u', 'linear', 'kernel')."""


class Entry(NamedTuple):
    there: str
    here: Path
    layout: Layout


def table(network: Network, entry: Callable[[Path, tuple[int, ...]], Entry]) -> list[Entry]:
    """Return the entry of every leaf of a network, given as arrays or shapes. Names there must be unique."""
    entries = [entry(path, leaf.shape) for path, leaf in leaves(network)]
    assert len({e.there for e in entries}) == len(entries)
    return entries


def to_here(
    entries: list[Entry], arrays: Arrays, network: Network, name: str, ignored: Callable[[str], bool]
) -> Network:
    """Fill the network, given as shapes, from `arrays`. Raises UserError naming what in the file `name` does not fit."""
    expected = {entry.there: entry for entry in entries}
    missing = [there for there in expected if there not in arrays]
    extra = [there for there in arrays if there not in expected and not ignored(there)]
    if missing or extra:
        lacks = f"lacks {_listed(missing)}" if missing else ""
        has = f"has {_listed(extra)}, which this architecture does not have" if extra else ""
        raise UserError(f"{name} {' and '.join(filter(None, (lacks, has)))}")
    shapes = dict(leaves(network))
    filled: dict[Path, np.ndarray] = {}
    for there, entry in expected.items():
        like = entry.layout.to_there(np.empty(shapes[entry.here].shape, np.float32))
        array = arrays[there]
        if array.shape != like.shape:
            raise UserError(f"{name}: {there} is {list(array.shape)}, where this architecture has {list(like.shape)}")
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{name}: {there} is {array.dtype}, not floating point")
        filled[entry.here] = np.array(entry.layout.to_here(array.astype(np.float32)), order="C")
    return traverse_util.unflatten_dict(filled)


def to_there(entries: list[Entry], network: Network) -> Arrays:
    """Return the state dict, in the order of the entries."""
    arrays = dict(leaves(network))
    return {e.there: np.array(e.layout.to_there(np.asarray(arrays[e.here])), order="C") for e in entries}


def leaves(network: Network) -> list[tuple[Path, np.ndarray]]:
    """List the network's leaves with their paths, sorted by path."""
    return sorted(traverse_util.flatten_dict(network).items())


def _listed(names: list[str]) -> str:
    return f"{names[0]} (and {len(names) - 1} more)" if len(names) > 1 else names[0]
