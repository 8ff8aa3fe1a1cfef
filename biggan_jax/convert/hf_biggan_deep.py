"""Array names, shapes and files of Hugging Face's pytorch-pretrained-BigGAN: TF-Hub's generators of BigGAN-deep.

Its conventions: [z, embedding] conditions; G's first layer gives (4, 4, C); the last convolution has ch filters; u and v beside
each weight_orig, used without a power iteration; batch-norm statistics for 51 truncations only; one list of layers, with the
attention at `attention_layer_position`.
"""

import itertools
import json
import logging
import re

import jax
import ml_collections
import numpy as np
from etils import epath
from flax import traverse_util

from biggan_jax.checkpoint import Extras
from biggan_jax.convert import files, imported, tables
from biggan_jax.convert.imported import Imported
from biggan_jax.convert.tables import Arrays, Entry, Layout, Network, Path
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.models.tables import WIDTHS, generator_sizes
from biggan_jax.sampling import generate
from biggan_jax.state import TrainState
from biggan_jax.types import Params, UserError

logger = logging.getLogger(__name__)

RESOLUTIONS = (128, 256, 512)  # The last convolution has ch filters, which fits only the last blocks of these networks.
EPS = 1e-4
BINS = 51
WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"

MODULES = {"linear": "gen_z", "bn_out": "bn", "conv_out": "conv_to_rgb"}
INNER = {name: f"snconv1x1_{name}" for name in ("theta", "phi", "g")} | {"o": "snconv1x1_o_conv", "gain": "scale"}
LEAVES = {"kernel": "weight_orig", "embedding": "weight", "gain": "weight", "offset": "bias"}
LEAVES |= {"mean": "running_means", "var": "running_vars"}


def read(path: epath.Path, *, bn_eps: float | None = None, sn_eps: float | None = None, suffix: str = "") -> Imported:
    """Read a folder with pytorch_model.bin and config.json, or a state dict with or without a config.json beside it."""
    folder = path if path.is_dir() else path.parent
    arrays = files.read_arrays(path / WEIGHTS if path.is_dir() else path)
    found = imported.explained(f"{path} is not a state dict of Hugging Face's BigGAN-deep", infer, arrays)
    eps = _read_eps(folder / CONFIG, found)
    config = imported.base_config()
    config.model.update(bn_eps=bn_eps or eps, spectral_eps=sn_eps or eps)
    imported.complete(config.model, found)

    network = read_network(arrays, config, str(path))
    binned = network.pop("binned")
    # Training and --statistics=running need one set of statistics: take that of truncation 1.
    network["batch_stats"] = jax.tree.map(lambda rows: rows[-1], binned)
    return Imported(config, {"G": network}, extras={"binned": binned})


def read_network(arrays: Arrays, config: ml_collections.ConfigDict, name: str) -> Network:
    """Convert G, with statistics for each truncation (`binned`) instead of running ones."""
    bins = len(arrays["generator.bn.running_means"])
    shapes = _with_bins(imported.shapes_of(build_gan(config))["G"], bins)
    return tables.to_here(arrays, shapes, entry_of(config.model), name)


def write(
    state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path, *, passes: int = 100
) -> None:
    """Write the averaged G for BigGAN.from_pretrained. Without `binned` statistics, measure them for each truncation."""
    model, gan = config.model, build_gan(config)
    if model.family != "biggan_deep" or model.depth != 2 or len(model.g_attention) != 1 or model.prior != "normal":
        raise UserError("Hugging Face's project has only BigGAN-deep of depth 2 with one attention layer and normal z")
    if model.resolution not in RESOLUTIONS:
        raise UserError(f"Hugging Face's BigGAN-deep has {RESOLUTIONS} pixels")
    if not model.num_classes or model.dim_z != model.shared_dim or not model.g_spectral_norm:
        raise UserError("Hugging Face's BigGAN-deep has classes, spectral norm in G, and a z as long as its embedding")
    if model.g_attention[0] == model.resolution:
        raise UserError("Hugging Face's BigGAN-deep has no place for attention after the last block")
    if model.bn_out_eps not in (0.0, model.bn_eps):
        raise UserError(f"Hugging Face's BigGAN-deep has one eps; this model has {model.bn_eps} and {model.bn_out_eps}")
    files.import_torch()  # If it is missing, fail before measuring statistics.
    params, vectors = state.averages["G"], (state.networks["G"].stats | extras.get("ema_stats", {}))["spectral"]
    binned = extras.get("binned")
    if binned is None:
        binned = measure_bins(gan, generate.evaluation_weights(gan, params, vectors), passes=passes)
    if gan.spectral_eval != "stored":
        # Its sampling makes no power iteration: export the vectors after ours, so that sigma is the same.
        _, vectors = jax.jit(gan.evaluation_step)(params, {"u": vectors["u"], "v": {}})
    network = {"params": params, "spectral": vectors, "binned": binned}
    if not model.pad_rgb:
        network = _padded(network)
    out.mkdir(parents=True, exist_ok=True)
    files.write_torch(out / WEIGHTS, tables.to_there(network, entry_of(model)))
    (out / CONFIG).write_text(json.dumps(_their_config(config, len(jax.tree.leaves(binned)[0])), indent=2) + "\n")


def measure_bins(gan: Family, weights: Params, *, bins: int = BINS, passes: int = 100) -> dict:
    """Measure standing statistics for truncations 0 ... 1, of latents as Hugging Face draws them: {mean, var} [bins, C]."""
    logger.info("measuring batch-norm statistics for %d truncations, %d batches each", bins, passes)
    measure = lambda t: generate.standing_statistics(gan, weights, 0, truncation=Truncation(t, "scale"), passes=passes)
    return jax.tree.map(lambda *rows: np.stack(rows), *map(measure, np.linspace(0, 1, bins)))


def entry_of(model: ml_collections.ConfigDict):
    """Return the function from (path, shape) of a leaf of G to its Entry."""
    position = _attention_position(model)

    def module(scope: str) -> str:
        kind, *numbers = scope.split("_")
        if kind == "block":
            index = int(numbers[0]) * model.depth + int(numbers[1])
            return f"generator.layers.{index + (index >= position)}"
        if kind == "attention":
            return f"generator.layers.{position}"
        return "embeddings" if scope == "shared" else f"generator.{MODULES[scope]}"

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        kind, *scopes, leaf = path
        if kind == "spectral":
            leaf, scopes = f"weight_{scopes[0]}", scopes[1:]
        names = [module(scopes[0]), *map(_inner, scopes[1:]), LEAVES.get(leaf, leaf)]
        return Entry(".".join(names), path, _layout(scopes, leaf, shape, model))

    return entry


def _inner(scope: str) -> str:
    """Translate submodules: bn_1 is bn_0 there, conv_1 is conv_0."""
    numbered = re.fullmatch(r"(bn|conv)_(\d)", scope)
    return f"{numbered[1]}_{int(numbered[2]) - 1}" if numbered else INNER.get(scope, scope)


def _layout(scopes: list[str], leaf: str, shape: tuple[int, ...], model: ml_collections.ConfigDict) -> Layout:
    conditioned = scopes[-1] in ("linear", "gain", "offset") and leaf != "bias"
    swapped = tables.rotated(model.dim_z, axis=0) if conditioned else tables.SAME
    if leaf == "kernel" and len(shape) == 4:
        return tables.CONVOLUTION
    if leaf in ("kernel", "embedding"):
        return tables.TRANSPOSED.then(swapped)
    if leaf == "weight_v":
        three = scopes[-1] in ("conv_2", "conv_3", "conv_out")
        return tables.channels_last(3) if three else swapped
    return tables.ROW if leaf == "gamma" else tables.SAME


def infer(arrays: Arrays) -> dict:
    """Infer keys of config.model from the shapes. Call by `imported.explained`."""
    shapes = {name: array.shape for name, array in arrays.items()}
    dim_z, num_classes = shapes["embeddings.weight"]
    matches = (re.fullmatch(r"generator\.layers\.(\d+)\..*", name) for name in shapes)
    layers = 1 + max((int(match[1]) for match in matches if match), default=-1)
    attended = [i for i in range(layers) if f"generator.layers.{i}.gamma" in shapes]
    blocks = [i for i in range(layers) if i not in attended]
    widths = [shapes[f"generator.layers.{i}.conv_0.weight_orig"][1] for i in blocks]
    widths.append(shapes["generator.conv_to_rgb.weight_orig"][0])
    if not shapes["generator.bn.running_means"][0] > 1:
        raise UserError("it has statistics for fewer than two truncations")
    resolution, _, ch = imported.match_widths(widths, imported.generator_widths, RESOLUTIONS, [2])
    if len(attended) != 1 or attended[0] % 2 or not attended[0]:
        raise UserError(f"its attention layers are {attended}; one is expected, after a whole stage")
    return {
        "family": "biggan_deep",
        "resolution": resolution,
        "g_ch": ch,
        "depth": 2,
        "num_classes": num_classes,
        "dim_z": dim_z,
        "shared_dim": dim_z,
        "g_attention": (generator_sizes(resolution)[attended[0] // 2 - 1],),
        "pad_rgb": True,
        "spectral_eval": "stored",
    }


def _attention_position(model: ml_collections.ConfigDict) -> int:
    return model.depth * (generator_sizes(model.resolution).index(model.g_attention[0]) + 1)


def _with_bins(shapes: Network, bins: int) -> Network:
    widened = jax.tree.map(lambda s: jax.ShapeDtypeStruct((bins, *s.shape), s.dtype), shapes["batch_stats"])
    return {"params": shapes["params"], "spectral": shapes["spectral"], "binned": widened}


def _padded(network: Network) -> Network:
    """Pad conv_out with filters of zeros up to ch, which changes neither images nor sigma."""
    leaves = traverse_util.flatten_dict(jax.tree.map(np.asarray, network), sep="/")
    more = leaves["params/conv_out/kernel"].shape[2] - 3
    for path in ("params/conv_out/kernel", "params/conv_out/bias", "spectral/u/conv_out/kernel"):
        leaves[path] = np.pad(leaves[path], [(0, 0)] * (leaves[path].ndim - 1) + [(0, more)])
    return traverse_util.unflatten_dict(leaves, sep="/")


def _read_eps(path: epath.Path, found: dict) -> float:
    """Return the eps of a config.json, which may be missing. Raises UserError if it contradicts what was `found` in arrays."""
    if not path.exists():
        return EPS
    try:
        theirs = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    eps = theirs.get("eps", EPS) if isinstance(theirs, dict) else None
    if not isinstance(eps, float) or not eps > 0:
        raise UserError(f"{path} is not the config of a BigGAN-deep, with an eps greater than 0")
    keys = {"output_dim": "resolution", "z_dim": "dim_z", "channel_width": "g_ch", "num_classes": "num_classes"}
    for key, ours in keys.items():
        if theirs.get(key, found[ours]) != found[ours]:
            raise UserError(f"{path} has {key} {theirs[key]}, but the weights have {found[ours]}")
    return eps


def _their_config(config: ml_collections.ConfigDict, bins: int) -> dict:
    model = config.model
    layers = []
    for width, following in itertools.pairwise(WIDTHS[model.resolution].generator):
        layers += [[False, width, width], [True, width, following]]
    return {
        "output_dim": model.resolution,
        "z_dim": model.dim_z,
        "class_embed_dim": model.shared_dim,
        "channel_width": model.g_ch or model.ch,
        "num_classes": model.num_classes,
        "layers": layers,
        "attention_layer_position": _attention_position(model),
        "eps": model.bn_eps,
        "n_stats": bins,
    }
