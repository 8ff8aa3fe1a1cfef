"""Read and write the files of StyleGAN2-ADA (github.com/NVlabs/stylegan2-ada-pytorch): snapshots and state dicts.

A folder has G, D and G_ema as .npz or .pth, and networks.json with the arguments of the peer's networks.
"""

import functools
import json
import logging
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Extras
from biggan_jax.convert import files, imported, snapshot, stylegan2, tables
from biggan_jax.convert.imported import Imported
from biggan_jax.convert.stylegan2_settings import to_arguments, to_model
from biggan_jax.convert.tables import Arrays
from biggan_jax.models import build_gan
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

NETWORKS = ("G", "D", "G_ema")
ARGUMENTS = "networks.json"


def read(path: epath.Path, *, suffix: str = "") -> Imported:
    """Read a snapshot (.pkl), a state dict of G or D (.npz, .pth), or a folder of G, D and G_ema. Raises UserError."""
    states, arguments = _load(path)
    explained = lambda *call: imported.explained(f"{path} is not of StyleGAN2-ADA", *call)
    found = {}
    for name, arrays in states.items():
        explained(stylegan2.check_filters, arrays)
        if explained(stylegan2.is_generator, arrays) != (name != "D"):
            raise UserError(f"{path}: {name} is a {'generator' if name == 'D' else 'discriminator'}")
        own = arguments.get(name[0])
        found[name] = (
            explained(functools.partial(to_model, name[0]), own) if own else explained(stylegan2.infer, arrays)
        )
    config = config_of(imported.merge(found))
    if not arguments:
        logger.info("arrays do not tell the bound of activations or D's groups; the config has %s", _untold(config))
    logger.info(
        "the files hold neither the batch size nor the strength of R1: the config has batch_size=%d and regularizer.r1=%g; set "
        "those of the run before training further",
        config.batch_size,
        config.regularizer.r1,
    )
    shapes = imported.shapes_of(build_gan(config))
    networks = {}
    for name, arrays in states.items():
        entry = stylegan2.entry_of(name != "D")
        networks[name] = tables.to_here(arrays, shapes[name[0]], entry, f"{path}: {name}", stylegan2.is_foreign)
    extras: Extras = {}
    if "G_ema" in networks:
        extras["ema_stats"] = {key: tree for key, tree in networks["G_ema"].items() if key != "params"}
    return Imported(config, networks, extras=extras)


def _untold(config: ml_collections.ConfigDict) -> str:
    return f"model.clamp={config.model.clamp:g} and model.d_stddev_group={config.model.d_stddev_group}"


def _load(path: epath.Path) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """Return ({network: its arrays}, {G or D: arguments of the peer's network, where they are known})."""
    if path.is_dir():
        named = {name: path / f"{name}{end}" for end in (".pth", ".npz") for name in NETWORKS}
        present = {name: file for name, file in named.items() if file.exists()}
        if not present:
            raise UserError(f"{path} has neither G, D nor G_ema as .npz or .pth")
        return {name: files.read_arrays(present[name]) for name in NETWORKS if name in present}, _arguments_in(path)
    if path.suffix == ".pkl":
        return _of_snapshot(path)
    arrays = files.read_arrays(path)
    generator = imported.explained(f"{path} is not of StyleGAN2-ADA", stylegan2.is_generator, arrays)
    return {("G_ema" if "ema" in path.stem else "G") if generator else "D": arrays}, {}


def _arguments_in(folder: epath.Path) -> dict[str, Any]:
    path = folder / ARGUMENTS
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(own, dict) for own in found.values()):
        raise UserError(f"{path} does not map G and D to their arguments")
    return found


def _of_snapshot(path: epath.Path) -> tuple[dict[str, Arrays], dict[str, Any]]:
    found = snapshot.read(path)
    networks = {name: found[name] for name in NETWORKS if isinstance(found.get(name), snapshot.Module)}
    if not networks:
        raise UserError(f"{path} has neither G, D nor G_ema")
    arguments = {}
    for name, network in networks.items():
        own = network.state.get("_init_kwargs")
        if isinstance(own, dict) and not network.state.get("_init_args"):
            arguments[name[0]] = own
    return {name: snapshot.arrays(network) for name, network in networks.items()}, arguments


def config_of(found: dict[str, Any]) -> ml_collections.ConfigDict:
    """Return the config of what was found, with the published settings of training."""
    config = imported.base_config("stylegan2")
    stylegan2.mirror(config.model, found)
    config.update(batch_size=32, d_steps=1, loss="non_saturating")
    config.optimizer.update(g_lr=2e-3, d_lr=2e-3, b1=0.0, b2=0.99, eps=1e-8)
    config.regularizer.update(r1=10.0, every=16)
    config.ema.half_life = 10_000.0
    return config


def write(state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path) -> None:
    """Write G.npz, D.npz and G_ema.npz, which the peer's networks load strictly, and their arguments as networks.json."""
    arguments = to_arguments(config)
    G, D = (imported.network_of(state.networks[name]) for name in "GD")
    networks = {"G": G, "D": D, "G_ema": {**G, **extras.get("ema_stats", {}), "params": state.averages["G"]}}
    out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        arrays = stylegan2.state_dict(network, name != "D")
        with (out / f"{name}.npz").open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
    (out / ARGUMENTS).write_text(json.dumps(arguments, indent=2) + "\n")
