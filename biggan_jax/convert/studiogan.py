"""Array names and shapes of PyTorch-StudioGAN (github.com/POSTECH-CVLab/PyTorch-StudioGAN), and our models that equal its own.

    backbone                  family
    deep_conv                 dcgan, form deep_conv
    resnet                    sngan; sagan if it has attention and spectral norm in both networks
    big_resnet                biggan
    big_resnet_deep_legacy    biggan_deep

Its conventions: channels first; G's first layer gives (C, 4, 4); PyTorch's spectral norm: weight_orig, weight_u and weight_v,
without a power iteration in evaluation; blocks.i.0 is a block or an attention, numbered in one row; a conditional batch norm has
linear layers of one-hot labels or of [embedding, chunk of z], without biases. D's of resnet and big_resnet are the same.
"""

import re
from typing import Any

import ml_collections
import numpy as np

from biggan_jax.convert import tables
from biggan_jax.convert.tables import Arrays, Entry, Layout, Network, Path, leaves
from biggan_jax.models import sngan
from biggan_jax.models.tables import generator_sizes
from biggan_jax.types import UserError

BACKBONES = ("deep_conv", "resnet", "big_resnet", "big_resnet_deep_legacy")
HEADS = {"W/O": "none", "PD": "projection", "AC": "ac", "2C": "contrastive", "D2DCE": "d2dce", "MH": "multi_hinge"}
"""Its names of D's heads, and ours."""
EQUAL_HEADS = ("2C", "D2DCE")
"""Heads with equal arrays."""

WIDTHS = {size: ((row.first, *row.generator), row.discriminator) for size, row in sngan.WIDTHS.items()}
"""Multiples of g_conv_dim and d_conv_dim of all ResNets by resolution: of G's first layer and blocks; of D's blocks."""
DEEP_D_32 = (4, 4, 4, 4)

MODULES = {"linear": "linear0", "bn_out": "bn4", "conv_out": "conv2d5"}
D_MODULES = {
    "conv_in": "input_conv",
    "linear": "linear1",
    "embed": "embedding",
    "classes": "linear2",
    "embedding": "linear2",
    "proxy": "embedding",
}
INNER = {"conv_skip": "conv2d0", "offset": "bias", "o": "conv1x1_attn"} | {
    name: f"conv1x1_{name}" for name in ("theta", "phi", "g")
}
LEAVES = {"mean": "running_mean", "var": "running_var", "gain": "weight", "offset": "bias", "gamma": "sigma"}
COUNTER = "num_batches_tracked"

DECONVOLUTION = Layout(
    lambda a: a.transpose(2, 3, 0, 1)[::-1, ::-1], lambda a: a[::-1, ::-1].transpose(2, 3, 0, 1)
)  # IOHW and HWIO; PyTorch's kernel of a transposed convolution is that of the convolution, so it is mirrored in both axes.


def entry_of(model: ml_collections.ConfigDict, is_generator: bool, network: Network):
    """Return the function from (path, shape) of a leaf of G or D to its Entry. network: its arrays or their shapes."""
    params = {path[1:-1]: leaf.shape for path, leaf in leaves({"params": network["params"]}) if path[-1] == "kernel"}
    conditional = is_generator and (model.num_classes > 0 or model.family in ("biggan", "biggan_deep"))
    normalized = model.g_spectral_norm if is_generator else model.d_spectral_norm
    positions = _positions(network)

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        kind, *scopes, leaf = path
        which = scopes.pop(0) if kind == "spectral" else ""
        names = _modules(scopes, model, is_generator, positions)
        if kind == "batch_stats" and conditional and scopes != ["bn_out"]:
            names = [*names, "bn"]
        if leaf in ("kernel", "embedding"):
            raw = normalized and not (is_generator and leaf == "embedding")
            last = f"weight_{which}" if which else "weight_orig" if raw else "weight"
        else:
            last = LEAVES.get(leaf, leaf)
        turned = is_generator and model.family == "dcgan" and re.fullmatch(r"conv_\d+", scopes[0]) is not None
        first = is_generator and scopes == ["linear"] and which != "v"
        layout = _layout(leaf, which, shape, params.get(tuple(scopes), ()), turned)
        return Entry(".".join([*names, last]), path, tables.channels_last().then(layout) if first else layout)

    return entry


def _positions(network: Network) -> dict[str, int]:
    """Return the place of each block and attention in their row `blocks`."""
    named = [scope.split("_") for scope in network["params"] if re.fullmatch(r"(block|attention)_\d+(_\d+)?", scope)]
    order = sorted(named, key=lambda name: (int(name[1]), name[0] == "attention", [int(n) for n in name[2:]]))
    return {"_".join(name): i for i, name in enumerate(order)}


def _modules(scopes: list[str], model, is_generator: bool, positions: dict[str, int]) -> list[str]:
    top, *inner = scopes
    if top in positions:
        return [f"blocks.{positions[top]}.0", *(INNER.get(s, _numbered(s)) for s in inner)]
    if model.family == "dcgan":
        kind, *numbers = top.split("_")
        if is_generator and kind in ("conv", "bn") and numbers[0].isdigit():
            return [
                f"blocks.{numbers[0]}.0.{'deconv0' if kind == 'conv' else 'bn0'}",
                *(INNER.get(s, s) for s in inner),
            ]
        if len(numbers) == 2:
            return [f"blocks.{numbers[0]}.0.{kind}{int(numbers[1]) - 1}"]
        special = {"conv_out": "conv4", "conv_3": "conv1", "bn_3": "bn1"}
        if top in special:
            return [special[top]]
    return [(MODULES if is_generator else D_MODULES).get(top, top)]


def _numbered(scope: str) -> str:
    return re.sub(r"^bn_", "bn", re.sub(r"^conv_", "conv2d", scope))


def _layout(leaf: str, which: str, shape: tuple[int, ...], kernel: tuple[int, ...], turned: bool) -> Layout:
    if leaf == "gamma":
        return tables.ROW
    if which == "v" and len(kernel) == 4:
        side = kernel[0]
        reverse = lambda a: a.reshape(side * side, -1)[::-1].reshape(-1)
        return tables.channels_last(side).then(Layout(reverse, reverse) if turned else tables.SAME)
    if leaf != "kernel" or which:
        return tables.SAME
    if len(shape) == 4:
        return DECONVOLUTION if turned else tables.CONVOLUTION
    return tables.TRANSPOSED


TOP = ["shared", "linear0", "input_conv", "blocks", "bn4", "conv2d5", "conv4", "conv1", "bn1", "linear1", "linear2"]
INSIDE = {
    "conv": ["deconv0", "conv0", "conv1", "bn0", "bn1"],
    "first": ["conv2d0", "conv2d1", "conv2d2", "bn0", "bn1"],
    "down": ["conv2d0", "bn0", "conv2d1", "conv2d2", "bn1", "bn2"],
    "up": ["bn1", "bn2", "bn3", "bn4", "conv2d0", "conv2d1", "conv2d2", "conv2d3", "conv2d4"],
    "deep": ["conv2d1", "conv2d2", "conv2d3", "conv2d4", "conv2d0"],
    "attention": ["sigma", "conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn"],
}
PARTS = ["bn", "gain", "bias", "weight", "weight_orig", "weight_u", "weight_v", "running_mean", "running_var", COUNTER]


def in_order(names: list[str], generator: bool) -> list[str]:
    """Sort names in the order of their modules, in which PyTorch's optimizer numbers the parameters."""
    tops = TOP if generator and any("conv2d4" in name for name in names) else ["linear0", "shared", *TOP[2:]]

    def rank(name: str) -> list[float]:
        first, *inner = name.split(".")
        place: list[float] = [[*tops, "embedding"].index(first)]
        if first == "blocks":
            i, _, module, *inner = inner
            place += [int(i), _inside(names, int(i), generator).index(module)]
        # A bias follows a weight, but precedes weight_orig, which PyTorch's spectral norm registers later.
        plain = [
            2.5 if part == "weight" else PARTS.index(part) + (part == "bias" and len(inner) == 1) for part in inner
        ]
        return [*place, *plain]

    return sorted(names, key=rank)


def _inside(names: list[str], i: int, generator: bool) -> list[str]:
    """Return the order of modules in blocks.i."""
    modules = {name.split(".")[3] for name in names if name.startswith(f"blocks.{i}.0.")}
    if "sigma" in modules:
        return INSIDE["attention"]
    if modules & {"conv0", "deconv0"}:
        return INSIDE["conv"]
    if generator:
        return INSIDE["up"]
    return INSIDE["deep" if "conv2d4" in modules else "down" if i else "first"]


def counters(arrays: Arrays) -> list[str]:
    """Return the names of the counters of batches, one beside each running mean. They are not imported."""
    return [name.replace("running_mean", COUNTER) for name in arrays if name.endswith("running_mean")]


def is_foreign(name: str) -> bool:
    """Return whether the array is a counter of batches, which is not imported."""
    return name.endswith(COUNTER)


def is_generator(arrays: Arrays) -> bool:
    """Return whether this is G's state dict (or else D's). Raises UserError if it is neither."""
    plain = {name.replace("weight_orig", "weight") for name in arrays}
    if "mapping.embed.weight" in plain or any(name.startswith(("synthesis.", "b4.")) for name in plain):
        raise UserError("its backbone is stylegan2 or stylegan3, which this project does not convert")
    for layer, generator in (("linear0", True), ("linear1", False)):
        if f"{layer}.weight" in plain:
            return generator
    raise UserError("it has neither G's linear0 nor D's linear1")


def infer(arrays: Arrays, *, backbone: str = "", head: str = "") -> dict:
    """Infer what a state dict says of the model. Call by `imported.explained`.

    backbone, head: StudioGAN's names, which decide where shapes cannot.
    """
    shapes = {name.replace("weight_orig", "weight"): array.shape for name, array in arrays.items()}
    normalized = any(name.endswith("weight_orig") for name in arrays)
    _refuse(shapes)
    if is_generator(arrays):
        return _infer_generator(shapes, backbone) | {"g_spectral_norm": normalized}
    return _infer_discriminator(shapes, head) | {"d_spectral_norm": normalized}


def _refuse(shapes: dict) -> None:
    """Refuse what no family here has."""
    if any(name.startswith("info_") for name in shapes):
        raise UserError("it has InfoGAN's layers, which no family here has")
    if "linear_mi.weight" in shapes:
        raise UserError("it has the twin classifier of TAC-GAN, which no family here has")
    deep = [name for name in shapes if name.endswith(".conv2d4.weight")]
    skips = [(name, name.replace("conv2d4", "conv2d0")) for name in deep]
    if any(skip in shapes and shapes[skip][0] == shapes[name][0] for name, skip in skips):
        raise UserError(
            "its backbone is big_resnet_deep_studiogan, whose skip connections are convolutions, while those of biggan_deep "
            "drop or add channels; only big_resnet_deep_legacy is converted"
        )


def _infer_generator(shapes: dict, backbone: str) -> dict:
    row = _row(shapes)
    z = shapes["linear0.weight"][1]
    gain = next((shapes[name][1] for name in shapes if re.search(r"\.bn[01]\.gain\.weight$", name)), None)
    if f"blocks.{row[0][0]}.0.deconv0.weight" in shapes:
        _refuse_attention(row)
        widths = [shapes[f"blocks.{i}.0.deconv0.weight"] for i in row[0]]
        channels, ch = shapes["conv4.weight"][:2]
        if [widths[0][0], *(w[1] for w in widths)] != [8 * ch, 4 * ch, 2 * ch, ch]:
            raise UserError(f"its channels {[w[1] for w in widths]} are not those of deep_conv")
        return {
            "backbone": "deep_conv",
            "resolution": 32,
            "channels": channels,
            "ch": ch,
            "dim_z": z,
            "num_classes": gain or 0,
        }
    deep = "blocks.0.0.conv2d4.weight" in shapes
    last = "conv2d4" if deep else "conv2d1"
    widths = [shapes["blocks.0.0.conv2d1.weight"][1], *(shapes[f"blocks.{i}.0.{last}.weight"][0] for i in row[0])]
    if deep:
        if len(row[0]) % 2:
            raise UserError("its stages do not have two blocks, as g_depth 2 gives")
        widths = [widths[0], *widths[2::2]]
    channels = shapes["conv2d5.weight"][0]
    resolution, ch = _match(widths, lambda table: table[0])
    sizes = generator_sizes(resolution)
    found: dict[str, Any] = {"resolution": resolution, "channels": channels, "g_ch": ch}
    found["g_attention"] = tuple(sizes[(after + 1) // (2 if deep else 1) - 1] for after in row[1])
    if "shared.weight" in shapes:
        num_classes, shared_dim = shapes["shared.weight"]
        backbone, chunk = ("big_resnet_deep_legacy" if deep else "big_resnet"), _whole(gain) - shared_dim
        found |= {"num_classes": num_classes, "shared_dim": shared_dim}
        found["dim_z"] = chunk if deep else chunk * (len(sizes) + 1)
        return found | {"backbone": backbone}
    if deep:
        raise UserError("it has no class embedding, and StudioGAN's big_resnet_deep_legacy needs classes")
    # The batch norms of an unconditional big_resnet see chunks of z as long as the one that its first layer sees.
    if backbone == "big_resnet" or (gain == z and backbone != "resnet"):
        return found | {"backbone": "big_resnet", "num_classes": 0, "dim_z": z * (len(sizes) + 1)}
    return found | {"backbone": "resnet", "num_classes": gain or 0, "dim_z": z}


def _infer_discriminator(shapes: dict, head: str) -> dict:
    row = _row(shapes)
    found = _infer_head(shapes, head)
    if "blocks.0.0.conv0.weight" in shapes:
        _refuse_attention(row)
        widths = [shapes[f"blocks.{i}.0.conv0.weight"][0] for i in row[0]] + [shapes["conv1.weight"][0]]
        ch = widths[0]
        if widths != [ch, 2 * ch, 4 * ch, 8 * ch]:
            raise UserError(f"its channels {widths} are not those of deep_conv")
        return found | {"backbone": "deep_conv", "resolution": 32, "ch": ch, "channels": 3}
    if "input_conv.weight" in shapes:
        if len(row[0]) % 2:
            raise UserError("its stages do not have two blocks, as d_depth 2 gives")
        widths = [shapes["input_conv.weight"][0], *(shapes[f"blocks.{i}.0.conv2d4.weight"][0] for i in row[0][::2])]
        resolution, ch = _match(widths, lambda table: DEEP_D_32 if table is WIDTHS[32] else table[1])
        attended = [(after + 1) // 2 - 1 for after in row[1]]
        found |= {"backbone": "big_resnet_deep_legacy", "d_attention": _sizes(halved(resolution), attended)}
        return found | {"resolution": resolution, "d_ch": ch, "channels": 3}
    widths = [shapes[f"blocks.{i}.0.conv2d2.weight"][0] for i in row[0]]
    resolution, ch = _match(widths, lambda table: table[1])
    found |= {"resolution": resolution, "d_ch": ch, "channels": shapes["blocks.0.0.conv2d1.weight"][1]}
    found |= {"d_attention": _sizes(halved(resolution), row[1])}
    return found | {"d_batch_norm": "blocks.0.0.bn1.weight" in shapes}


def _infer_head(shapes: dict, head: str) -> dict:
    outputs = shapes["linear1.weight"][0]
    if outputs > 1:
        return {"head": "MH", "num_classes": outputs - 1}
    if "linear2.bias" in shapes:
        num_classes, embed_dim = shapes["embedding.weight"]
        return {"head": head if head in EQUAL_HEADS else "2C", "num_classes": num_classes, "embed_dim": embed_dim}
    if "linear2.weight" in shapes:
        return {"head": "AC", "num_classes": shapes["linear2.weight"][0]}
    if "embedding.weight" in shapes:
        return {"head": "PD", "num_classes": shapes["embedding.weight"][0]}
    return {"head": "W/O"}


def _row(shapes: dict) -> tuple[list[int], list[int]]:
    """Return (places of blocks in the row `blocks`, for each attention the number of the block that it follows)."""
    places = {int(match[1]) for match in map(re.compile(r"blocks\.(\d+)\.0\..*").fullmatch, shapes) if match}
    if not places:
        raise UserError("it has no blocks")
    attended = [i for i in sorted(places) if f"blocks.{i}.0.sigma" in shapes]
    blocks = [i for i in sorted(places) if i not in attended]
    return blocks, [sum(block < i for block in blocks) - 1 for i in attended]


def _refuse_attention(row: tuple[list[int], list[int]]) -> None:
    if row[1]:
        raise UserError("it is deep_conv with attention, which dcgan does not have")


def halved(resolution: int) -> list[int]:
    """Return the height in pixels of the output of each of D's blocks that halve the size."""
    return [resolution >> i + 1 for i in range(sngan.WIDTHS[resolution].pools)]


def _sizes(sizes: list[int], attended: list[int]) -> tuple[int, ...]:
    if max(attended, default=0) >= len(sizes):
        raise UserError("D has attention after a block that does not halve the size, which no family here has")
    return tuple(sizes[i] for i in attended)


def _match(widths: list[int], row) -> tuple[int, int]:
    """Return (resolution, ch) of the architecture whose multiples of ch are these widths."""
    for resolution, table in WIDTHS.items():
        multiples = row(table)
        ch = widths[-1] // multiples[-1]
        if widths == [ch * multiple for multiple in multiples]:
            return resolution, ch
    raise UserError(f"its channels {widths} fit no known architecture of {', '.join(map(str, WIDTHS))} pixels")


def _whole(number: int | None) -> int:
    if number is None:
        raise UserError("its batch norms are not conditional")
    return number


def infer_all(networks: dict[str, Arrays], *, backbone: str = "", head: str = "") -> dict[str, dict]:
    """Return what `infer` says of each network. D's classes tell which backbone a G has that may be of two."""
    found = {name: infer(arrays, head=head) for name, arrays in networks.items() if name == "D"}
    if found and not backbone and found["D"].get("num_classes"):
        backbone = "resnet"  # Of a G with an embedding of classes, shapes tell the backbone anyway.
    found |= {name: infer(arrays, backbone=backbone) for name, arrays in networks.items() if name != "D"}
    of_d, of_g = (found.get(name, {}).get("num_classes") for name in ("D", "G"))
    if of_d and of_g and of_d in (2 * of_g, of_g - 1):
        head = "ADC, with two outputs for each class" if of_d > of_g else "MD, with one logit for each class"
        raise UserError(f"D's head is {head}, which no family here has")
    return found


def family_of(found: dict) -> str:
    """Return our family of what was inferred of one or both networks."""
    backbone = found.get("backbone", "resnet")
    if backbone != "resnet":
        return {"deep_conv": "dcgan", "big_resnet": "biggan", "big_resnet_deep_legacy": "biggan_deep"}[backbone]
    keys = [
        key for who in "gd" for key in (f"{who}_attention", f"{who}_spectral_norm") if f"{who}_spectral_norm" in found
    ]
    return "sagan" if all(found[key] for key in keys) else "sngan"


def to_arrays(arrays: Arrays) -> Arrays:
    """Return int64 counters of 0 for those that a state dict lacks, beside its arrays."""
    return arrays | {name: np.zeros((), np.int64) for name in counters(arrays) if name not in arrays}
