"""Take over the layers of a network that fit another one of its family, of another resolution or number of classes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from biggan_jax.family import Network
from biggan_jax.state import NetworkState
from biggan_jax.types import Params

Arrays = dict[tuple[str, ...], Any]
"""Arrays, or their shapes, of a network by (collection, *path); see `arrays_of`."""

Layer = tuple[str, ...]
"""The names of a layer: of a block and a layer in it, or of a layer alone."""


class Place(NamedTuple):
    """Where a block is in its network, for a counterpart in another one.

    kind: its name without numbers. size: height and width of its inputs and outputs. number: among blocks of this kind and size.
    """

    kind: str
    size: tuple[tuple[int, ...], tuple[int, ...]]
    number: int


class Transfer(NamedTuple):
    """copied: {layer: the layer there that replaces it}. new: {layer: why nothing replaces it}. unused: the layers left there."""

    copied: dict[Layer, Layer]
    new: dict[Layer, str]
    unused: list[Layer]


def plan(ours: Arrays, theirs: Arrays, our_places: Mapping[str, Place], their_places: Mapping[str, Place]) -> Transfer:
    """Say which layers of `theirs` replace layers of `ours`.

    A layer is copied if all its arrays are there in the same shape. A block, which has a number in its name, corresponds to the
    block there of which most weights fit, among that with feature maps of the same size, that at the same distance from the
    image, and that of the same name; the first of them if they are equal. No block is used twice. All else goes by name.
    """
    our_layers, their_layers = by_layer(ours), by_layer(theirs)
    counterparts = _counterparts(our_layers, their_layers, our_places, their_places)
    copied: dict[Layer, Layer] = {}
    new: dict[Layer, str] = {}
    for layer, arrays in our_layers.items():
        there = (counterparts.get(layer[0], ""), *layer[1:])
        if there not in their_layers:
            new[layer] = "no counterpart there"
        elif what := _difference(arrays, their_layers[there]):
            new[layer] = what
        else:
            copied[layer] = there
    unused = [layer for layer in their_layers if layer not in copied.values()]
    return Transfer(copied, new, unused)


def take_over(fresh: NetworkState, stored: NetworkState, found: Transfer) -> NetworkState:
    """Return a network like `fresh` with the copied layers' arrays of `stored`; all else is None, the optimizer's state too."""
    return fresh.replace(
        params=take_over_tree("params", fresh.params, stored.params, found),
        variables={
            name: take_over_tree(name, tree, stored.variables.get(name, {}), found)
            for name, tree in fresh.variables.items()
        },
        spectral={
            name: take_over_tree(name, tree, stored.spectral.get(name, {}), found)
            for name, tree in fresh.spectral.items()
        },
        opt_state=None,
    )


def take_over_tree(collection: str, fresh: Params, stored: Params, found: Transfer) -> Params:
    """Return a tree like `fresh` with the arrays of copied layers, and None elsewhere."""
    theirs = dict(_flat(collection, stored))

    def one(path, _):
        name = (collection, *(key.key for key in path))
        layer = layer_of(name)
        if layer not in found.copied:
            return None
        there = found.copied[layer]
        return theirs[collection, *there, *name[1 + len(layer) :]]

    return jax.tree.map_with_path(one, fresh)


def report(name: str, found: Transfer) -> list[str]:
    """Return a sentence for each block or layer of a network, which names all its layers."""
    lines = []
    blocks: dict[tuple[str, str], list[str]] = {}
    for layer, there in found.copied.items():
        blocks.setdefault((layer[0], there[0]), []).append(".".join(layer[1:]))
    for (block, there), layers in blocks.items():
        inside = f" ({', '.join(filter(None, layers))})" if any(layers) else ""
        lines.append(f"{name}.{block}{inside}: copied{'' if there == block else f' from {there}'}")
    lines += [f"{name}.{'.'.join(layer)}: new: {why}" for layer, why in found.new.items()]
    lines += [f"{name}.{'.'.join(layer)} of that run: not used" for layer in found.unused]
    return lines


def arrays_of(network: NetworkState) -> Arrays:
    """Return a network's arrays besides its optimizer's."""
    collections = {"params": network.params, **network.variables, **network.spectral}
    return {name: array for collection, tree in collections.items() for name, array in _flat(collection, tree)}


def by_layer(arrays: Arrays) -> dict[Layer, Arrays]:
    """Group arrays by layer: {layer: {(collection, *names within the layer): array}}."""
    found: dict[Layer, Arrays] = {}
    for name, array in arrays.items():
        layer = layer_of(name)
        found.setdefault(layer, {})[name[0], *name[1 + len(layer) :]] = array
    return found


def layer_of(name: tuple[str, ...]) -> Layer:
    """Return the layer of an array by its (collection, *path): at most two names, and one at least."""
    return name[1:-1][:2] or name[1:]


def places(network: Network) -> dict[str, Place]:
    """Return the place of each of a network's modules whose name has a number, by name."""
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def watch(method, args, kwargs, context):
        out = method(*args, **kwargs)
        path, shapes = context.module.path, [getattr(x, "shape", None) for x in (*args[:1], out)]
        if len(path) == 1 and context.method_name == "__call__" and re.search(r"\d", path[0]) and all(shapes):
            sizes.setdefault(path[0], (shapes[0][1:-1], shapes[-1][1:-1]))
        return out

    def init(key: jax.Array):
        with nn.intercept_methods(watch):
            return network.module.init(key, *network.example(key), **network.mode(True))

    jax.eval_shape(init, jax.random.key(0))
    found: dict[str, Place] = {}
    for name, size in sizes.items():
        kind = re.sub(r"\d+", "#", name)
        number = sum((place.kind, place.size) == (kind, size) for place in found.values())
        found[name] = Place(kind, size, number)
    return found


def _counterparts(
    ours: dict[Layer, Arrays], theirs: dict[Layer, Arrays], our_places: Mapping, their_places: Mapping
) -> dict[str, str]:
    """Return {block or layer at the top: that one there}."""
    names = dict.fromkeys(layer[0] for layer in theirs)
    found = {layer[0]: layer[0] for layer in ours if layer[0] in names and layer[0] not in our_places}
    pairs = []
    for name, place in our_places.items():
        for there, other in their_places.items():
            alike = _alike(place, other, our_places, their_places) or 3 * (name == there)
            if alike and (fitting := _fitting(name, there, ours, theirs)):
                pairs.append((-fitting, alike, name, there))
    for _, _, name, there in sorted(pairs, key=lambda pair: pair[:2]):
        if name not in found and there not in found.values():
            found[name] = there
    # Of the others no layer fits; the block of the same name says why.
    return {name: name for name in names if name in our_places and name not in found.values()} | found


def _alike(place: Place, other: Place, ours: Mapping[str, Place], theirs: Mapping[str, Place]) -> int:
    """Return 1 for blocks of one size, 2 for those at one distance from the image, 0 for others."""
    if (place.kind, place.number) != (other.kind, other.number):
        return 0
    if place.size == other.size:
        return 1
    return 2 * (_from_image(place, ours) == _from_image(other, theirs))


def _from_image(place: Place, among: Mapping[str, Place]) -> tuple:
    """Return a block's sizes as shares of the network's largest feature map."""
    largest = max((size for each in among.values() for size in each.size), default=())
    return tuple(tuple(whole / part for whole, part in zip(largest, size, strict=False)) for size in place.size)


def _fitting(name: str, there: str, ours: dict[Layer, Arrays], theirs: dict[Layer, Arrays]) -> int:
    """Return how many numbers of the block `name` the block `there` has in layers that fit."""
    pairs = ((arrays, theirs.get((there, *layer[1:]))) for layer, arrays in ours.items() if layer[0] == name)
    fits = (arrays for arrays, other in pairs if other is not None and not _difference(arrays, other))
    return sum(int(np.prod(array.shape)) for arrays in fits for array in arrays.values())


def _difference(ours: Arrays, theirs: Arrays) -> str:
    """Say how a layer's arrays differ in shape; "" if they do not."""
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = (list(arrays[name].shape) if name in arrays else "missing" for arrays in (ours, theirs))
        if here != there:
            return f"{'.'.join(name[1:]) or 'its array'} {here} is {there} there"
    return ""


def _flat(collection: str, tree: Params) -> Iterator[tuple[tuple[str, ...], Any]]:
    for path, array in jax.tree.leaves_with_path(tree):
        yield (collection, *(key.key for key in path)), array
