"""Models to hand on: a folder with the weights as .safetensors, the config, a card, and the files' SHA-256 sums."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax.checkpoint import safetensors
from biggan_jax.checkpoint.checksums import named_arrays, type_of
from biggan_jax.checkpoint.layout import MODEL
from biggan_jax.checkpoint.trained import TrainedGenerator, placed_on
from biggan_jax.config.loading import MAX_BYTES, parse
from biggan_jax.models import build_gan
from biggan_jax.state import init_networks
from biggan_jax.types import Params, UserError

CONFIG, DATA, CARD, SUMS = "config.json", "data.json", "README.md", "SHA256SUMS"
SUMMED = (MODEL, CONFIG, DATA)
"""The files whose sums are checked. The card is not among them, since its user completes it."""

FILES = (*SUMMED, CARD, SUMS)
FORMAT = "1"
WEIGHTS = {False: "ema", True: "live"}


def is_exported(folder: epath.Path) -> bool:
    """Return whether the folder has an exported model, intact or not."""
    return (folder / MODEL).exists() or (folder / SUMS).exists()


def contents(trained: TrainedGenerator, data: Mapping[str, Any], version: str) -> dict[str, bytes]:
    """Return the files of a model besides its card, by name. Equal arguments give equal bytes.

    data: what is known of the training data: class_names, by id, and dtype of the images. version: of this package.
    """
    trees = {"params": trained.params, "stats": trained.stats} | ({"binned": trained.binned} if trained.binned else {})
    about = {
        "format": "flax",
        "biggan_jax_format": FORMAT,
        "biggan_jax": version,
        "network": trained.gan.sampled,
        "step": str(trained.step),
        "weights": WEIGHTS[trained.live],
    }
    found = {
        MODEL: safetensors.to_bytes({name: np.asarray(array) for name, array in named_arrays(trees).items()}, about),
        CONFIG: f"{configs.to_json(resolved(trained.config))}\n".encode(),
        DATA: f"{json.dumps(dict(data), indent=2)}\n".encode(),
    }
    sums = "".join(f"{hashlib.sha256(found[name]).hexdigest()}  {name}\n" for name in SUMMED)
    return found | {SUMS: sums.encode()}


def resolved(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Return a copy of the config in which each `auto` is a number."""
    config = config.copy_and_resolve_references()
    configs.resolve(config)
    return config


def read(folder: epath.Path, mesh: Mesh | None = None, *, live: bool = False) -> TrainedGenerator:
    """Read an exported model. The files are untrusted: raises UserError unless all are intact and fit each other.

    mesh: replicate the arrays on all its devices; None: on one device. live: only weights that are no average will do.
    """
    raw = verified(folder)
    config = configs.from_plain(parse(raw[CONFIG], f"{folder / CONFIG}"), f"{folder / CONFIG}")
    configs.validate(config)
    arrays, about = safetensors.from_bytes(raw[MODEL], f"{folder / MODEL}")
    step, weights = about.get("step", ""), about.get("weights")
    if (
        about.get("biggan_jax_format") != FORMAT
        or weights not in WEIGHTS.values()
        or not re.fullmatch(r"\d{1,10}", step)
    ):
        hint = f"its metadata are not those that `biggan-export model` writes in format {FORMAT}"
        raise UserError(f"{folder / MODEL} is not a model of biggan_jax, or of another version: {hint}")
    if live and weights == WEIGHTS[False]:
        raise UserError(f"{folder} has averaged weights alone; for --weights=live give the run's checkpoint")
    gan = build_gan(config, mesh)
    networks = jax.eval_shape(lambda: init_networks(gan, 0, {gan.sampled, *gan.lent.values()}))
    network = networks[gan.sampled]
    like = {"params": network.params, "stats": gan.with_lent(network.stats, networks)}
    like |= _binned_like(network.stats, arrays)
    trees = _fitted(arrays, like, f"{folder / MODEL}")
    params, stats = jax.device_put((trees["params"], trees["stats"]), placed_on(mesh))
    is_live = weights == WEIGHTS[True]
    return TrainedGenerator(gan, config, int(step), params, stats, trees.get("binned"), is_live, folder)


def verified(folder: epath.Path) -> dict[str, bytes]:
    """Return the content of the SUMMED files. Raises UserError, which names the first that is missing or damaged."""
    sums = {}
    for line in _content(folder, SUMS).decode(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line)
        if not match or match[2] not in SUMMED or match[2] in sums:
            raise UserError(f"{folder / SUMS} is damaged: the line {line!r:.100} is no sum of {', '.join(SUMMED)}")
        sums[match[2]] = match[1]
    if missing := [name for name in SUMMED if name not in sums]:
        raise UserError(f"{folder / SUMS} has no sum of {', '.join(missing)}; copy the whole folder again")
    raw = {name: _content(folder, name) for name in SUMMED}
    if len(raw[CONFIG]) > MAX_BYTES:
        raise UserError(f"{folder / CONFIG} is no config: it has more than {MAX_BYTES:,} bytes")
    for name, content in raw.items():
        if hashlib.sha256(content).hexdigest() != sums[name]:
            what = f"its SHA-256 is not that in {SUMS} ({len(content):,} bytes)"
            raise UserError(f"{folder / name} is damaged, truncated or changed: {what}; copy the whole folder again")
    return raw


def _content(folder: epath.Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{folder} lacks {name}; an exported model has {', '.join(FILES)}") from error
    except OSError as error:
        raise UserError(f"{folder / name} cannot be read: {error.strerror or error}") from error


def _binned_like(stats: dict[str, Params], arrays: dict[str, np.ndarray]) -> dict[str, Params]:
    """Return the shapes of statistics by truncation, if the arrays have any: those of batch norm, [bins, C]."""
    bins = next((len(array) for name, array in arrays.items() if name.startswith("binned.") and array.ndim), 0)
    by_bin = lambda s: jax.ShapeDtypeStruct((bins, *s.shape), s.dtype)
    return {"binned": jax.tree.map(by_bin, stats.get("batch_stats", {}))} if bins else {}


def _fitted(arrays: dict[str, np.ndarray], like: Params, where: str) -> Params:
    """Return the arrays as a tree like `like`. Raises UserError, which names the first that does not fit."""
    wanted = named_arrays(like)
    for name in [*wanted, *arrays]:
        if name not in arrays or name not in wanted:
            what = (
                f"has no array {name}" if name in wanted else f"has an array {name!r:.80} that its config does not name"
            )
            raise UserError(f"{where} {what}; it belongs to another config")
        found, expected = type_of(arrays[name]), type_of(wanted[name])
        if found != expected:
            raise UserError(f"{where}: the array {name} is {found}, but its config makes it {expected}")
    leaf = lambda path, _: arrays[jax.tree_util.keystr(path, simple=True, separator=".")]
    return jax.tree_util.tree_map_with_path(leaf, like)
