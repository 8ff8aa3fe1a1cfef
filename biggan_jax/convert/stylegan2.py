"""Array names and layouts of StyleGAN2-ADA's networks (github.com/NVlabs/stylegan2-ada-pytorch), those of family stylegan2.

Its conventions: channels first; bR is the block of R x R pixels; conv0 of G's blocks doubles the size by a transposed convolution,
whose kernel is turned by 180 degrees against ours. Each layer has a buffer resample_filter, the same in all of them.
"""

import re
from typing import Any

import ml_collections
import numpy as np

from biggan_jax.convert import tables
from biggan_jax.convert.tables import Arrays, Entry, EntryOf, Layout, Network, Path
from biggan_jax.types import UserError

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
"""The filter of every change of size."""

CHANNELS_FIRST = Layout(lambda a: a.transpose(1, 2, 0), lambda a: a.transpose(2, 0, 1))  # CHW and HWC.
TURNED = tables.CONVOLUTION.then(Layout(lambda a: a[::-1, ::-1], lambda a: a[::-1, ::-1]))

LAYERS = {"conv_0": "conv0", "conv_1": "conv1", "to_image": "torgb", "from_image": "fromrgb", "skip": "skip"}
END = {"conv": "conv", "dense": "fc", "linear": "out", "image_4": "fromrgb"}
"""Layers of D at 4 x 4 pixels."""

ORDER = [
    "w_avg",
    "embed",
    "const",
    "resample_filter",
    "fromrgb",
    "conv0",
    "conv1",
    "torgb",
    "skip",
    "conv",
    "fc",
    "out",
]
"""Modules and arrays of a block, or of the mapping network, in the order of the peer's state dict."""
WITHIN = ["", "weight", "noise_strength", "bias", "resample_filter", "noise_const", "affine.weight", "affine.bias"]
"""Arrays of a layer in that order."""


def entry_of(is_generator: bool) -> EntryOf:
    """Return the function from (path, shape) of a leaf of G or D to its Entry."""

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        kind, *scopes = path
        if kind == "moving":
            return Entry("mapping.w_avg", path, tables.SAME)
        layout = {4: tables.CONVOLUTION, 2: tables.TRANSPOSED}.get(len(shape), tables.SAME)
        if scopes[0] == "mapping":
            layer = scopes[1].replace("dense_", "fc")
            return Entry(f"mapping.{layer}.{'weight' if scopes[2] == 'kernel' else 'bias'}", path, layout)
        if not is_generator and not scopes[0].startswith("block_"):
            layout = layout.then(tables.channels_last()) if scopes[:2] == ["dense", "kernel"] else layout
            return Entry(f"b4.{END[scopes[0]]}.{'weight' if scopes[1] == 'kernel' else 'bias'}", path, layout)
        block, *inner = scopes[1:] if is_generator else scopes
        there = ("synthesis." if is_generator else "") + f"b{block.removeprefix('block_')}."
        if inner == ["constant"]:
            return Entry(f"{there}const", path, CHANNELS_FIRST)
        layer, name = f"{there}{LAYERS[inner[0]]}.", ".".join(inner[1:])
        if kind == "noise":
            return Entry(f"{layer}noise_const", path, tables.SAME)
        if is_generator and inner[0] == "conv_0" and len(shape) == 4:
            layout = TURNED
        names = {"conv.kernel": "weight", "kernel": "weight", "conv.style.kernel": "affine.weight"}
        names |= {"conv.style.bias": "affine.bias"}
        return Entry(layer + names.get(name, name), path, layout)

    return entry


def is_foreign(name: str) -> bool:
    """Return whether the array is a filter of a change of size, which is the same in every network."""
    return name.endswith("resample_filter")


def state_dict(network: Network, is_generator: bool) -> Arrays:
    """Return one network's arrays with the peer's names, with the buffers that its strict loading asks for."""
    arrays = tables.to_there(network, entry_of(is_generator))
    for name in [name for name in arrays if name.endswith(".weight")]:
        block, _, layer = name.removesuffix(".weight").rpartition(".")
        if layer in ("conv0", "conv1", "fromrgb", "skip", "conv"):
            arrays[f"{block}.{layer}.resample_filter"] = FILTER.copy()
        if layer == "conv1":
            arrays[f"{block}.resample_filter"] = FILTER.copy()
    return {name: arrays[name] for name in in_order(list(arrays))}


def in_order(names: list[str]) -> list[str]:
    """Sort names in the order of the peer's state dict: G's synthesis before its mapping, D's mapping before its last block."""

    def rank(name: str) -> tuple:
        block = re.search(r"(?:^|\.)b(\d+)\.", name)
        layer, _, leaf = (name[block.end() :] if block else name.partition(".")[2]).partition(".")
        size = int(block[1]) if block else 0
        last = not name.startswith("synthesis.") and size == 4
        place = (2, 0) if last else (1, 0) if not block else (0, size if name.startswith("synthesis.") else -size)
        number = re.fullmatch(r"fc(\d+)", layer)
        return *place, int(number[1]) if number else ORDER.index(layer) - len(ORDER), WITHIN.index(leaf)

    return sorted(names, key=rank)


def is_generator(arrays: Arrays) -> bool:
    """Return whether this is G's state dict (or else D's). Raises UserError if it is neither."""
    if "synthesis.b4.const" in arrays:
        return True
    if "b4.out.weight" in arrays:
        return False
    raise UserError("it has neither G's synthesis.b4.const nor D's b4.out.weight")


def check_filters(arrays: Arrays) -> None:
    """Raise UserError unless every change of size has the filter [1, 3, 3, 1]."""
    for name, array in arrays.items():
        if is_foreign(name) and not np.allclose(array, FILTER):
            raise UserError(f"{name} is not the filter [1, 3, 3, 1] / 8 in both directions")


def infer(arrays: Arrays) -> dict[str, Any]:
    """Infer keys of config.model from the shapes of a state dict. Call by `imported.explained`."""
    shapes = {name: array.shape for name, array in arrays.items()}
    return _infer_g(shapes) if is_generator(arrays) else _infer_d(shapes)


def _infer_g(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    sizes = _sizes(shapes, "synthesis.")
    last, middle = f"synthesis.b{sizes[-1]}", f"synthesis.b{sizes[-2]}"
    widths = [shapes[f"synthesis.b{size}.conv1.weight"][0] for size in sizes]
    (dim_w,), layers = shapes["mapping.w_avg"], _layers(shapes)
    embed, size = shapes.get("mapping.embed.weight", (0, 0))
    architecture = (
        "skip" if f"{middle}.torgb.weight" in shapes else "resnet" if f"{last}.skip.weight" in shapes else "orig"
    )
    hidden = shapes["mapping.fc0.weight"][0] if layers > 1 else dim_w
    return {
        **_channels(sizes, widths, ""),
        "image_shape": (sizes[-1], sizes[-1], shapes[f"{last}.torgb.weight"][0]),
        "num_classes": size,
        "dim_z": shapes["mapping.fc0.weight"][1] - embed,
        "dim_w": dim_w,
        "embed_dim": 0 if embed == dim_w else embed,
        "mapping_layers": layers,
        "mapping_dim": 0 if hidden == dim_w else hidden,
        "g_architecture": architecture,
        "noise": "synthesis.b4.conv1.noise_strength" in shapes,
    }


def _infer_d(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    sizes = _sizes(shapes, "")
    widths = [shapes["b4.conv.weight"][0], *(shapes[f"b{size}.conv0.weight"][0] for size in sizes[1:])]
    outputs, _ = shapes["b4.out.weight"]
    _, size = shapes.get("mapping.embed.weight", (0, 0))
    architecture = "skip" if "b4.fromrgb.weight" in shapes else "resnet" if "b8.skip.weight" in shapes else "orig"
    found = {
        **_channels(sizes, widths, "d_"),
        "image_shape": (sizes[-1], sizes[-1], shapes[f"b{sizes[-1]}.fromrgb.weight"][1]),
        "num_classes": size,
        "d_architecture": architecture,
        "d_stddev_maps": shapes["b4.conv.weight"][1] - widths[0],
    }
    if size:
        found |= {"d_mapping_layers": _layers(shapes), "d_mapping_dim": 0 if outputs == widths[0] else outputs}
    return found


def _sizes(shapes: dict[str, tuple[int, ...]], prefix: str) -> list[int]:
    """Return the sizes of blocks, from 4 up."""
    matches = (re.match(rf"{re.escape(prefix)}b(\d+)\.", name) for name in shapes)
    sizes = sorted({int(match[1]) for match in matches if match})
    if sizes != [4 << i for i in range(len(sizes))] or len(sizes) < 2:
        raise UserError(f"its blocks are of {', '.join(map(str, sizes))} pixels, not of 4, 8, 16, ...")
    return sizes


def _layers(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in shapes)


def _channels(sizes: list[int], widths: list[int], prefix: str) -> dict[str, int]:
    """Return channel_base and channel_max of these widths by size. Raises UserError if there are none."""
    most = max(widths)
    below = [width * size for width, size in zip(widths, sizes, strict=True) if width < most]
    base = max(below, default=most * sizes[-1])
    base = max(base, most * max(size for width, size in zip(widths, sizes, strict=True) if width == most))
    if widths != [min(base // size, most) for size in sizes]:
        raise UserError(f"its channels {widths} at {sizes} pixels are not base / size, at most a maximum")
    return {f"{prefix}channel_base": base, f"{prefix}channel_max": most}


def mirror(model: ml_collections.ConfigDict, found: dict[str, Any]) -> None:
    """Set config.model from what was found of one or both networks; a missing network has the channels of the other."""
    own = dict(found)
    for key in ("channel_base", "channel_max"):
        of_d = own.pop(f"d_{key}", None)
        own.setdefault(key, of_d)
        own[f"d_{key}"] = 0 if of_d in (None, own[key]) else of_d
    model.update(own)
