"""Array names and shapes of BigGAN-PyTorch (github.com/ajbrock/BigGAN-PyTorch).

Its conventions: channels first; G's first layer gives (C, 4, 4); u0 [1, n] beside each normalized weight, and sv0, which
logs sigma; blocks.i.0 is a block and blocks.i.1 the attention after it, except in the deep D, where a stage's blocks and its
attention share one i.
"""

import re
from typing import Any

import ml_collections
import numpy as np

from biggan_jax.convert import imported, layouts
from biggan_jax.convert.layouts import Layout
from biggan_jax.convert.tables import Arrays, Entry, Path
from biggan_jax.models.tables import discriminator_sizes, generator_sizes
from biggan_jax.types import UserError

RESOLUTIONS = (32, 64, 128, 256, 512)

LEAVES = {"kernel": "weight", "embedding": "weight", "offset": "bias", "mean": "stored_mean", "var": "stored_var"}
MODULES = {"bn_out": "output_layer.0", "conv_out": "output_layer.2", "conv_in": "input_conv"}
INNER = {"conv_skip": "conv_sc", "offset": "bias"}
ORDER = ["gamma", "theta", "phi", "g", "o", "conv1", "conv2", "conv3", "conv4", "conv_sc", "bn1", "bn2", "bn3", "bn4"]
ORDER += ["gain", "weight", "bias", "u0", "sv0", "stored_mean", "stored_var"]


def entry_of(model: ml_collections.ConfigDict, is_generator: bool):
    """Return the function from (path, shape) of a leaf of G or D to its Entry."""

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        kind, *scopes, leaf = path
        if kind == "spectral":  # ('spectral', 'u', ..., 'kernel') is stored beside the weight.
            scopes, leaf = scopes[1:], "u0"
        inner = [INNER.get(s, re.sub(r"^(bn|conv)_", r"\1", s)) for s in scopes[1:]]
        names = [_module(scopes[0], model, is_generator), *inner, LEAVES.get(leaf, leaf)]
        return Entry(".".join(names), path, _layout(scopes, leaf, shape, is_generator))

    return entry


def in_order(names: list[str], generator: bool) -> list[str]:
    """Sort names in the order of their modules, in which PyTorch's optimizer numbers the parameters."""
    top = ["shared", "linear", "blocks", "output_layer"] if generator else ["input_conv", "blocks", "linear", "embed"]

    def rank(name: str) -> list[int]:
        # A module's own arrays come before those of its submodules.
        first, *inner, last = name.split(".")
        inside = [int(part) if part.isdigit() else len(ORDER) + ORDER.index(part) for part in inner]
        return [top.index(first), *inside, ORDER.index(last)]

    return sorted(names, key=rank)


def is_foreign(name: str) -> bool:
    """Return whether the array is only a log (of sigma), which is not imported."""
    return re.search(r"\.sv\d+$", name) is not None


def _module(scope: str, model: ml_collections.ConfigDict, is_generator: bool) -> str:
    """Return blocks.i.j for one of our blocks or attentions; other modules by name."""
    kind, *numbers = scope.split("_")
    if kind not in ("block", "attention"):
        return MODULES.get(scope, scope)
    depth = model.depth if model.family == "biggan_deep" else 1
    stage, j = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else depth - 1
    if model.family == "biggan_deep" and not is_generator:
        return f"blocks.{stage}.{j if kind == 'block' else depth}"
    return f"blocks.{stage * depth + j}.{0 if kind == 'block' else 1}"


def _layout(scopes: list[str], leaf: str, shape: tuple[int, ...], is_generator: bool) -> Layout:
    of_kernels = layouts.CONVOLUTION if len(shape) == 4 else layouts.TRANSPOSED
    layout = {"kernel": of_kernels, "u0": layouts.ROW}.get(leaf, layouts.SAME)
    if not (is_generator and scopes == ["linear"]):
        return layout
    first = layouts.channels_last()  # The features are axis 0 of weight and bias, and axis 1 of u0.
    return layout.then(first) if leaf == "u0" else first.then(layout)


def is_generator(arrays: Arrays) -> bool:
    """Return whether this is G's state dict (or else D's). Raises UserError if it is neither."""
    if "output_layer.2.weight" in arrays:
        return True
    if "embed.weight" in arrays and "linear.weight" in arrays:
        return False
    raise UserError("it has neither G's output_layer.2.weight nor D's embed.weight")


def infer(arrays: Arrays) -> dict:
    """Infer keys of config.model from the shapes of a state dict. Raises UserError if they are not BigGAN's."""
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        return infer_generator(shapes) if is_generator(arrays) else infer_discriminator(shapes)
    except KeyError as error:
        raise UserError(f"it lacks {error.args[0]}") from None
    except (IndexError, ValueError) as error:
        raise UserError(f"an array has an unexpected number of axes ({error})") from None


def infer_generator(shapes: dict[str, tuple[int, ...]]) -> dict:
    deep = "blocks.0.0.conv4.weight" in shapes
    count = _count(shapes, r"blocks\.(\d+)\.0\.conv1\.weight")
    widths = [shapes[f"blocks.{i}.0.conv1.weight"][1] for i in range(count)] + [shapes["output_layer.2.weight"][1]]

    depths = range(1, len(widths)) if deep else (1,)
    resolution, depth, ch = imported.match_widths(widths, imported.generator_widths, RESOLUTIONS, depths)
    found: dict[str, Any] = {"family": "biggan_deep" if deep else "biggan", "resolution": resolution, "g_ch": ch}
    gain, z = shapes["blocks.0.0.bn1.gain.weight"], shapes["linear.weight"][1]
    if "shared.weight" in shapes:
        num_classes, shared_dim = shapes["shared.weight"]
        chunk = gain[1] - shared_dim
        dim_z = chunk if deep else chunk * (count + 1) if chunk else z
        found |= {"num_classes": num_classes, "shared_dim": shared_dim, "dim_z": dim_z, "skip_z": deep or chunk > 0}
    else:
        found |= {"num_classes": gain[0], "dim_z": z, "skip_z": False, "shared_embedding": False}
    found |= {"depth": depth} if deep else {}
    attended = [i // depth for i in range(count) if f"blocks.{i}.1.gamma" in shapes]
    found["g_attention"] = tuple(generator_sizes(resolution)[stage] for stage in attended)
    found["g_spectral_norm"] = "linear.u0" in shapes
    return found


def infer_discriminator(shapes: dict[str, tuple[int, ...]]) -> dict:
    deep = "input_conv.weight" in shapes
    stages = _count(shapes, r"blocks\.(\d+)\.0\.conv1\.weight")
    depth = _count(shapes, r"blocks\.0\.(\d+)\.conv1\.weight")
    last = "conv4" if deep else "conv2"
    widths = [shapes[f"blocks.{i}.{j}.{last}.weight"][0] for i in range(stages) for j in range(depth)]
    if deep:
        widths = [shapes["input_conv.weight"][0], *widths]

    multiples = lambda row, depth: [row.discriminator[0], *np.repeat(row.discriminator[1:], depth)]
    resolution, _, ch = imported.match_widths(widths, multiples, RESOLUTIONS, [depth])
    family = "biggan_deep" if deep else "biggan"
    found = {"family": family, "resolution": resolution, "d_ch": ch, "num_classes": shapes["embed.weight"][0]}
    hidden, features = (shapes[f"blocks.0.0.conv{i}.weight"][0] for i in (1, 2))
    found |= {"depth": depth} if deep else {"d_wide": hidden == features}
    sizes = discriminator_sizes(resolution, family)
    # Several stages may have one size, as in the 32-pixel D: attention then follows all of them or none.
    attended = [sizes[i] for i in range(stages) if f"blocks.{i}.{depth}.gamma" in shapes]
    found["d_attention"] = tuple(dict.fromkeys(attended))
    return found


def _count(shapes: dict, pattern: str) -> int:
    return len({match[1] for match in map(re.compile(pattern).fullmatch, shapes) if match})
