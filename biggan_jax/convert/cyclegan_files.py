"""Read and write checkpoints of pytorch-CycleGAN-and-pix2pix: LABEL_net_NETWORK.pth in a folder, or one generator."""

import logging
import re
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Extras
from biggan_jax.config import some
from biggan_jax.convert import cyclegan, files, imported, tables
from biggan_jax.convert.imported import Imported
from biggan_jax.convert.tables import Arrays
from biggan_jax.models import build_gan
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.convert")

CYCLE, PAIR = ("G_A", "G_B", "D_A", "D_B"), ("G", "D")
NAMED = re.compile(r"(.+)_net_(G_A|G_B|D_A|D_B|G|D)\.(pth|npz)")
LATEST = "latest"
STATISTICS = "running_mean", "running_var"
SETTINGS: dict[str, dict[str, Any]] = {
    "cyclegan": {"loss": "least_squares", "model.identity": 0.5},
    "pix2pix": {"loss": "non_saturating"},
}
"""The authors' defaults of what files do not hold."""


def read(path: epath.Path, suffix: str = "") -> Imported:
    """Read a folder, or the file of one generator. suffix: the label of the files, by default latest. Raises UserError."""
    loaded = _load(path, suffix)
    found = {name: imported.explained(f"{path}: {name}", infer, arrays) for name, arrays in loaded.items()}
    for name, keys in found.items():
        if ("generator" in keys) != (name[0] == "G"):
            raise UserError(f"{path}: {name} is a {'generator' if 'generator' in keys else 'discriminator'}")
    if not any(name[0] == "G" for name in found):
        raise UserError(f"{path} has no generator")
    if set(loaded) == {"G"} and found["G"]["generator"] == "resnet" and found["G"]["g_norm"] == "instance":
        logger.info("%s: a residual generator alone is read as CycleGAN's G_A", path)
        loaded, found = {"G_A": loaded["G"]}, {"G_A": found["G"]}
    family = "pix2pix" if "G" in loaded else "cyclegan"
    config = config_of(family, found, path)
    shapes = imported.shapes_of(build_gan(config))
    networks: dict[str, Any] = {}
    foreign: dict[str, Arrays] = {}
    for name, arrays in loaded.items():
        is_foreign = lambda there, arrays=arrays: there in foreign_of(arrays)
        entry = cyclegan.entry_of(build_gan(config).networks[name].module)
        networks[name] = tables.to_here(arrays, shapes[name], entry, f"{path}: {name}", is_foreign)
        foreign[name] = foreign_of(arrays)
    extras: Extras = {"foreign": {name: arrays for name, arrays in foreign.items() if arrays}}
    return Imported(config, networks, extras=extras if extras["foreign"] else {})


def foreign_of(arrays: Arrays) -> Arrays:
    """Return the arrays without a use here: counters, and running statistics of instance norm, which old versions stored."""
    unused = lambda there: (
        there.endswith(cyclegan.COUNTER)
        or (there.endswith(STATISTICS) and f"{there.rpartition('.')[0]}.weight" not in arrays)
    )
    return {there: array for there, array in arrays.items() if unused(there)}


def _load(path: epath.Path, suffix: str) -> dict[str, Arrays]:
    """Return {network: its state dict}."""
    if not path.is_dir():
        if suffix:
            raise UserError(f"--suffix={suffix} has no effect on a file; give the folder")
        named = NAMED.fullmatch(path.name)
        return {named[2] if named else "G": _plain(files.read_arrays(path))}
    labels: dict[str, dict[str, epath.Path]] = {}
    for file in sorted(path.iterdir()):
        if named := NAMED.fullmatch(file.name):
            labels.setdefault(named[1], {})[named[2]] = file
    label = suffix or (LATEST if LATEST in labels or len(labels) != 1 else next(iter(labels)))
    if label not in labels:
        has = f"it has {some(labels)}" if labels else "it has no file like latest_net_G.pth"
        raise UserError(f"{path} has no networks of {label}; {has}{'; give one as --suffix' * bool(labels)}")
    own = labels[label]
    if own.keys() & set(PAIR) and own.keys() & set(CYCLE):
        raise UserError(f"{path} has networks of pix2pix and of CycleGAN: {some(own)}; move one of them")
    return {name: _plain(files.read_arrays(file)) for name, file in own.items()}


def _plain(arrays: Arrays) -> Arrays:
    """Return the arrays under their names in a network, without those of PyTorch's wrapper for several GPUs."""
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def infer(arrays: Arrays) -> dict[str, Any]:
    """Return the keys of config.model of one network, and `seen` and `made`, its channels. Raises UserError for others."""
    if "model.model.0.weight" in arrays:
        return _unet(arrays)
    first = next((name for name in ("model.0.weight", "model.1.weight") if name in arrays), "")
    kernel = arrays[first].shape[2:] if first else ()
    if kernel == (7, 7) and first == "model.1.weight":
        return _resnet(arrays)
    if kernel == (4, 4) and first == "model.0.weight":
        return _discriminator(arrays)
    raise UserError("it is no ResnetGenerator, UnetGenerator or NLayerDiscriminator")


def _norm(arrays: Arrays, layer: str) -> str:
    return "batch" if f"{layer}.weight" in arrays else "instance"


def _resnet(arrays: Arrays) -> dict[str, Any]:
    blocks = len({name.split(".")[1] for name in arrays if ".conv_block." in name})
    ch, seen = arrays["model.1.weight"].shape[:2]
    dropout = (
        0.5 if "model.10.conv_block.6.weight" in arrays and arrays["model.10.conv_block.6.weight"].ndim == 4 else 0.0
    )
    made = arrays[f"model.{17 + blocks}.weight"].shape[0]
    found = {
        "generator": "resnet",
        "ch": ch,
        "blocks": blocks,
        "g_norm": _norm(arrays, "model.2"),
        "g_dropout": dropout,
    }
    return found | {"seen": seen, "made": made}


def _unet(arrays: Arrays) -> dict[str, Any]:
    halvings = 2 + max(name.count(".3.model") for name in arrays)
    ch, seen = arrays["model.model.0.weight"].shape[:2]
    made = arrays["model.model.3.weight"].shape[1]
    norm = _norm(arrays, "model.model.1.model.2")
    return {"generator": "unet", "ch": ch, "halvings": halvings, "g_norm": norm, "seen": seen, "made": made}


def _discriminator(arrays: Arrays) -> dict[str, Any]:
    layers = sum(array.ndim == 4 for array in arrays.values()) - 2
    ch, seen = arrays["model.0.weight"].shape[:2]
    return {"d_ch": ch, "d_layers": layers, "d_norm": _norm(arrays, "model.3"), "seen": seen}


def config_of(family: str, found: dict[str, dict], path: epath.Path) -> ml_collections.ConfigDict:
    """Return the config of what was inferred, with the authors' default settings of training. Raises UserError."""
    channels = {name: (keys.pop("seen"), keys.pop("made", 0)) for name, keys in found.items()}
    model = imported.merge(found)
    sides = {"G": (0, 1), "G_A": (0, 1), "G_B": (1, 0)}
    a, b = next(tuple(channels[name][i] for i in order) for name, order in sides.items() if name in channels)
    expected = {"G": (a, b), "G_A": (a, b), "G_B": (b, a), "D": (a + b, 0), "D_A": (b, 0), "D_B": (a, 0)}
    for name, own in channels.items():
        if own != expected[name]:
            raise UserError(f"{path}: {name} has images of {own[0]} channels; with the others, {expected[name][0]} fit")
    config = imported.base_config(family)
    side = max(256, 1 << model.get("halvings", 0))
    config.update_from_flattened_dict({"model.image_shape": (side, side, b), "model.input_channels": a})
    if family == "pix2pix" and model["generator"] == "unet":
        logger.info("files do not tell whether a U-Net has dropout: model.g_dropout is the authors' 0.5")
    settings: dict[str, Any] = {"batch_size": 1, "d_steps": 1, "ema.decay": 0.0, **SETTINGS[family]}
    settings |= {"optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4, "optimizer.b1": 0.5, "optimizer.eps": 1e-8}
    config.update_from_flattened_dict(settings | {f"model.{key}": value for key, value in model.items()})
    if family == "cyclegan" and a != b:
        config.model.identity = 0.0
    return config


def write(state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path) -> None:
    """Write latest_net_G.pth and the other networks, which the authors' code loads strictly. Raises UserError."""
    arrays = state_dicts(state, config, extras)
    out.mkdir(parents=True, exist_ok=True)
    for name, own in arrays.items():
        files.write_torch(out / f"{LATEST}_net_{name}.pth", own)


def state_dicts(state: TrainState, config: ml_collections.ConfigDict, extras: Extras) -> dict[str, Arrays]:
    """Return {network: its arrays with PyTorch's names}, averaged weights of generators where the run keeps them."""
    family = config.model.family
    if family not in SETTINGS:
        raise UserError(f"pytorch-CycleGAN-and-pix2pix has no network like family {family}")
    gan, foreign, found = build_gan(config), extras.get("foreign", {}), {}
    for name, network in state.networks.items():
        params = state.averages.get(name, network.params)
        tree = jax.tree.map(np.asarray, {"params": params} | dict(network.variables))
        arrays = cyclegan.named(gan.networks[name].module, tree)
        means = [there for there in arrays if there.endswith("running_mean")]
        counters = {f"{there.rpartition('.')[0]}.{cyclegan.COUNTER}": np.int64(0) for there in means}
        found[name] = arrays | {key: np.asarray(value) for key, value in (counters | foreign.get(name, {})).items()}
    return found
