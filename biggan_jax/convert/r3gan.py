"""Read and write the networks of R3GAN (github.com/brownvc/R3GAN), which are those of family r3gan.

Its conventions: channels first; a stage i is MainLayers.i, whose Layers are blocks and, first in G and last in D, a change of
size or, at 4 x 4, the learned map. Training wraps each network, so that names in its snapshots begin with Model.
"""

import json
import logging
import re
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Extras
from biggan_jax.convert import files, imported, snapshot, tables
from biggan_jax.convert.imported import Imported
from biggan_jax.convert.tables import Arrays, Entry, Layout, Path
from biggan_jax.models import build_gan
from biggan_jax.models.r3gan import expansion_of, stages_of
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

NETWORKS = ("G", "D", "G_ema")
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
"""The filter of every change of size."""

BLOCK = {"conv_1.kernel": "LinearLayer1.Layer.weight", "conv_1.bias": "NonLinearity1.Bias"}
BLOCK |= {"conv_2.kernel": "LinearLayer2.Layer.weight", "conv_2.bias": "NonLinearity2.Bias"}
BLOCK |= {"conv_3.kernel": "LinearLayer3.Layer.weight"}
OUTSIDE = {"conv_in": "ExtractionLayer.Layer", "conv_out": "AggregationLayer.Layer", "embed": "EmbeddingLayer"}
TOP = ["ExtractionLayer", "MainLayers", "AggregationLayer", "EmbeddingLayer"]
WITHIN = ["Basis", "Resampler", "LinearLayer", "LinearLayer1", "LinearLayer2", "LinearLayer3"]
WITHIN += ["NonLinearity1", "NonLinearity2"]

MIRRORED: dict[str, Any] = {"widths": (), "groups": (), "blocks": (), "expansion": 0}
"""Keys of config.model whose d_KEY says what differs in D; its value where nothing does."""

BASIS_OF_G = Layout(lambda a: a.transpose(1, 2, 0), lambda a: a.transpose(2, 0, 1))  # CHW and HWC.
BASIS_OF_D = Layout(lambda a: a[:, 0].transpose(1, 2, 0), lambda a: a.transpose(2, 0, 1)[:, None])  # C1HW and HWC.


def entry_of(model: ml_collections.ConfigDict, is_generator: bool):
    """Return the function from (path, shape) of a leaf of G or D to its Entry."""
    blocks = _blocks(model, is_generator)
    last = len(blocks) - 1
    small = "MainLayers.0.Layers.0" if is_generator else f"MainLayers.{last}.Layers.{blocks[last]}"

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        scopes = path[1:]
        if scopes == ("basis",):
            return Entry(
                f"{small}.Basis" if is_generator else f"{small}.Basis.weight",
                path,
                BASIS_OF_G if is_generator else BASIS_OF_D,
            )
        layout = {4: tables.CONVOLUTION, 2: tables.TRANSPOSED, 1: tables.SAME}[len(shape)]
        if scopes[0] == "linear":
            return Entry(f"{small}.LinearLayer.weight", path, layout)
        if scopes[0] in OUTSIDE:
            return Entry(f"{OUTSIDE[scopes[0]]}.weight", path, layout)
        kind, *numbers = scopes[0].split("_")
        i = int(numbers[0])
        if kind == "block":
            layer, within = (
                int(numbers[1]) + is_generator,
                BLOCK[".".join(scopes[1:])],
            )  # G's stages begin with a change of size.
            return Entry(f"MainLayers.{i}.Layers.{layer}.{within}", path, layout)
        there = f"MainLayers.{i}.Layers.0" if is_generator else f"MainLayers.{i - 1}.Layers.{blocks[i - 1]}"
        return Entry(f"{there}.LinearLayer.Layer.weight", path, layout)

    return entry


def _blocks(model: ml_collections.ConfigDict, is_generator: bool) -> list[int]:
    """Return the blocks of each stage, in the order of MainLayers."""
    return list(model.blocks if is_generator else (model.d_blocks or model.blocks)[::-1])


def in_order(names: list[str], generator: bool) -> list[str]:
    """Sort names in the order of their modules, in which PyTorch's optimizer numbers the parameters."""

    def rank(name: str) -> list[int]:
        first, *inner = name.split(".")
        if first != "MainLayers":
            return [TOP.index(first)]
        i, _, j, layer, *_ = inner
        return [TOP.index(first), int(i), int(j), WITHIN.index(layer)]

    return sorted(names, key=rank)


def is_foreign(name: str) -> bool:
    """Return whether the array is a filter of a change of size, which is the same in every network."""
    return name.endswith("Resampler.Kernel")


def is_generator(arrays: Arrays) -> bool:
    """Return whether this is G's state dict (or else D's). Raises UserError if it is neither."""
    for layer, generator in (("AggregationLayer", True), ("ExtractionLayer", False)):
        if f"{layer}.Layer.weight" in arrays:
            return generator
    raise UserError("it has neither G's AggregationLayer nor D's ExtractionLayer")


def infer(arrays: Arrays) -> dict:
    """Infer keys of config.model from the shapes of a state dict. Call by `imported.explained`."""
    for name, array in arrays.items():
        if is_foreign(name) and not np.array_equal(array, FILTER):
            raise UserError(f"{name} is not the filter [1, 3, 3, 1] / 8 in both directions")
    shapes, generator = {name: array.shape for name, array in arrays.items()}, is_generator(arrays)
    stages = _stages(shapes)
    last = len(stages["widths"]) - 1
    small = "MainLayers.0.Layers.0" if generator else f"MainLayers.{last}.Layers.{stages['blocks'][last]}"
    (embed_dim, num_classes) = shapes.get("EmbeddingLayer.weight", (0, 0))
    found: dict[str, Any] = {"num_classes": num_classes}
    expansion = stages.pop("expansion")
    if generator:
        height, width = shapes[f"{small}.Basis"][1:]
        channels = shapes["AggregationLayer.Layer.weight"][0]
        found |= {"dim_z": shapes[f"{small}.LinearLayer.weight"][1] - embed_dim} | stages
        found |= {"expansion": expansion} | ({"embed_dim": embed_dim} if embed_dim else {})
    else:
        height, width = shapes[f"{small}.Basis.weight"][2:]
        channels = shapes["ExtractionLayer.Layer.weight"][1]
        found |= {f"d_{key}": entries[::-1] for key, entries in stages.items()}
        found |= {"d_expansion": expansion} | ({"d_embed_dim": embed_dim} if embed_dim else {})
    return found | {"image_shape": (height << last, width << last, channels)}


def _stages(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the widths, groups and blocks of stages in the order of MainLayers, and the expansion."""
    first: dict[int, tuple[int, int, int]] = {}
    blocks: dict[int, int] = {}
    for name, shape in shapes.items():
        if match := re.fullmatch(r"MainLayers\.(\d+)\.Layers\.\d+\.LinearLayer1\.Layer\.weight", name):
            hidden, width = shape[:2]
            within = shapes[name.replace("LinearLayer1", "LinearLayer2")][1]
            first.setdefault(int(match[1]), (width, hidden // within, hidden // width))
            blocks[int(match[1])] = blocks.get(int(match[1]), 0) + 1
    count = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("MainLayers."))
    if empty := [i for i in range(count) if i not in blocks]:
        raise UserError(f"its stage MainLayers.{empty[0]} has no residual block")
    widths, groups, expansions = zip(*(first[i] for i in range(count)), strict=True)
    if len(set(expansions)) > 1:
        raise UserError(f"its stages widen blocks by different factors: {', '.join(map(str, expansions))}")
    return {
        "widths": widths,
        "groups": groups,
        "blocks": tuple(blocks[i] for i in range(count)),
        "expansion": expansions[0],
    }


def read(path: epath.Path, *, suffix: str = "") -> Imported:
    """Read a snapshot (.pkl), or a state dict of G or D (.npz, .pth), or a folder of G, D and G_ema. Raises UserError."""
    loaded = _load(path)
    states = {name: loaded[name] for name in NETWORKS if name in loaded}
    explained = lambda *call: imported.explained(f"{path} is not of R3GAN", *call)
    found = {name: explained(infer, arrays) for name, arrays in states.items()}
    wrong = [name for name, arrays in states.items() if is_generator(arrays) != (name != "D")]
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is a {'generator' if wrong[0] == 'D' else 'discriminator'}")
    config = config_of(imported.merge(found), loaded.get("bfloat16_stages", 0))
    optimizers = {name: loaded[f"{name}_opt_state"] for name in ("G", "D") if f"{name}_opt_state" in loaded}
    groups = {name: imported.adam_group(optimizer, f"{path}: {name}") for name, optimizer in optimizers.items()}
    imported.set_adam(config, groups, str(path))
    images = imported.count_of(
        loaded.get("cur_nimg", 0), f"{path}: cur_nimg, the count of images seen,", at_most=10**11
    )
    logger.info(
        "the files hold neither the batch size nor the strengths of R1 and R2: the config has batch_size=%d, regularizer.r1=%g "
        "and r2=%g; set those of the run before training further",
        config.batch_size,
        config.regularizer.r1,
        config.regularizer.r2,
    )
    if images:
        logger.info(
            "%d images were seen, in %d steps if its batch had %d",
            images,
            images // config.batch_size,
            config.batch_size,
        )

    shapes = imported.shapes_of(build_gan(config))
    networks, moments = {}, {}
    for name, arrays in states.items():
        entry = entry_of(config.model, name != "D")
        networks[name] = tables.to_here(arrays, shapes[name[0]], entry, f"{path}: {name}", is_foreign)
    for name, optimizer in optimizers.items():
        if name in states and optimizer["state"]:
            entry = entry_of(config.model, name == "G")
            moments[name], _ = imported.read_moments(
                optimizer, shapes[name], entry, in_order, config, name, f"{path}: {name}"
            )
    return Imported(config, networks, moments, images // config.batch_size)


def _load(path: epath.Path) -> dict[str, Any]:
    """Return {network: its arrays}, and what else a snapshot holds."""
    if path.is_dir():
        named = {name: path / f"{name}{end}" for end in (".pth", ".npz") for name in NETWORKS}
        present = {name: file for name, file in named.items() if file.exists()}
        if not present:
            raise UserError(f"{path} has neither G, D nor G_ema as .npz or .pth")
        return {name: _plain(files.read_arrays(file)) for name, file in present.items()}
    if path.suffix == ".pkl":
        return _of_snapshot(path)
    arrays = _plain(files.read_arrays(path))
    generator = imported.explained(f"{path} is not of R3GAN", is_generator, arrays)
    return {("G_ema" if "ema" in path.stem else "G") if generator else "D": arrays}


def _of_snapshot(path: epath.Path) -> dict[str, Any]:
    found = snapshot.read(path)
    networks = {name: found[name] for name in NETWORKS if isinstance(found.get(name), snapshot.Module)}
    if not networks:
        raise UserError(f"{path} has neither G, D nor G_ema")
    loaded = {name: _plain(snapshot.arrays(network)) for name, network in networks.items()}
    low = [
        sum(inner.state.get("DataType") == snapshot.Dtype("bfloat16") for inner in snapshot.modules(network))
        for network in networks.values()
    ]
    more = {key: found[key] for key in ("cur_nimg", "G_opt_state", "D_opt_state") if key in found}
    return loaded | more | {"bfloat16_stages": max(low)}


def _plain(arrays: Arrays) -> Arrays:
    """Return the arrays under their names in a network, without the Model. of training's wrapper."""
    return {name.removeprefix("Model."): array for name, array in arrays.items()}


def config_of(found: dict, bfloat16_stages: int = 0) -> ml_collections.ConfigDict:
    """Return the config of what was inferred, with the published settings of training. A missing network mirrors the other."""
    model = {key: found[f"d_{key}"] for key in MIRRORED if f"d_{key}" in found} | found
    for key, empty in MIRRORED.items():  # D has a key of its own only where it differs.
        if model.get(f"d_{key}") == model[key]:
            model[f"d_{key}"] = empty
    if model.get("d_embed_dim") == (model.get("d_widths") or model["widths"])[0]:
        model["d_embed_dim"] = 0
    config = imported.base_config("r3gan")
    config.model.update(model, bfloat16_stages=bfloat16_stages)
    config.update(batch_size=256, d_steps=1, loss="relativistic_pairs")
    config.optimizer.update(g_lr=2e-4, d_lr=2e-4, b1=0.0, b2=0.9, eps=1e-8)
    config.regularizer.update(r1=1.0, r2=1.0)
    config.condition.labels = "paired"
    config.g_real = "own"
    return config


def write(state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path) -> None:
    """Write G.npz, D.npz and G_ema.npz, which R3GAN's networks load strictly, and their arguments as networks.json."""
    settings = settings_of(config)
    networks = {
        "G": state.networks["G"].params,
        "D": state.networks["D"].params,
        "G_ema": state.averages["G"],
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, params in networks.items():
        with (out / f"{name}.npz").open("wb") as file:
            arrays = state_dict({"params": params}, config, name)
            np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
    (out / "networks.json").write_text(json.dumps(settings, indent=2) + "\n")


def state_dict(network: tables.Network, config: ml_collections.ConfigDict, name: str) -> Arrays:
    """Return one network's arrays with PyTorch names, in order."""
    generator = name != "D"
    arrays = tables.to_there(network, entry_of(config.model, generator))
    blocks = _blocks(config.model, generator)
    for i in range(1, len(blocks)):
        there = f"MainLayers.{i}.Layers.0" if generator else f"MainLayers.{i - 1}.Layers.{blocks[i - 1]}"
        arrays[f"{there}.Resampler.Kernel"] = FILTER.copy()
    return {key: arrays[key] for key in in_order(list(arrays), generator)}


def settings_of(config: ml_collections.ConfigDict) -> dict:
    """Return the arguments of R3GAN's Generator and Discriminator. Raises UserError for networks that it does not have."""
    model = config.model
    if model.family != "r3gan":
        raise UserError(f"R3GAN has no network like family {model.family}")
    shape, doublings = tuple(model.image_shape), len(model.widths) - 1
    if shape[2] != 3 or shape[0] >> doublings != 4 or shape[1] >> doublings != 4:
        raise UserError(
            f"R3GAN's networks have a smallest map of 4 x 4 and make RGB, and this one images of the shape {shape}"
        )
    size = model.num_classes or model.condition_dim
    settings = {}
    for name in "GD":
        stages = stages_of(config, name.lower())[:: 1 if name == "G" else -1]
        settings[name] = {
            "WidthPerStage": [stage.width for stage in stages],
            "CardinalityPerStage": [stage.groups for stage in stages],
            "BlocksPerStage": [stage.blocks for stage in stages],
            "ExpansionFactor": expansion_of(config, name.lower()),
        }
        if size:
            length = model.embed_dim if name == "G" else model.d_embed_dim or stages[-1].width
            settings[name] |= {"ConditionDimension": size, "ConditionEmbeddingDimension": length}
    settings["G"]["NoiseDimension"] = model.dim_z
    return settings
