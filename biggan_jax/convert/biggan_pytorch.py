"""Array names, shapes and weights folders of BigGAN-PyTorch (github.com/ajbrock/BigGAN-PyTorch).

Its conventions: channels first; G's first layer gives (C, 4, 4); u0 [1, n] beside each normalized weight, and sv0, which
logs sigma; blocks.i.0 is a block and blocks.i.1 the attention after it, except in the deep D, where a stage's blocks and its
attention share one i. A folder has G, D, G_ema, G_optim, D_optim and state_dict.
"""

import logging
import re
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Extras
from biggan_jax.config import flatten
from biggan_jax.convert import biggan_pytorch_options as options
from biggan_jax.convert import files, imported, tables
from biggan_jax.convert.imported import Imported, Moments
from biggan_jax.convert.tables import Arrays, Entry, Layout, Network, Path
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.models.tables import discriminator_sizes, generator_sizes
from biggan_jax.runtime.files import matching
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

BN_EPS, SN_EPS = 1e-5, 1e-6
BN_OUT_EPS = 1e-5  # BigGAN-PyTorch does not pass --BN_eps to the output batch norm.

NETWORKS = ("G", "D", "G_ema")
COUNTERS = {"itr": 0, "epoch": 0, "save_num": 0, "save_best_num": 0, "best_IS": 0, "best_FID": 999999}
SETTINGS = {
    "BN_eps": "model.bn_eps",
    "SN_eps": "model.spectral_eps",
    "num_D_SV_itrs": "model.spectral_iterations",
    "num_D_steps": "d_steps",
    "num_D_accumulations": "microbatches",
    "G_ortho": "regularizer.g_ortho",
    "D_ortho": "regularizer.d_ortho",
    "ema_decay": "ema.decay",
    "ema_start": "ema.start",
}
"""BigGAN-PyTorch's names of settings that mean the same here."""

RESOLUTIONS = (32, 64, 128, 256, 512)

LEAVES = {"kernel": "weight", "embedding": "weight", "offset": "bias", "mean": "stored_mean", "var": "stored_var"}
MODULES = {"bn_out": "output_layer.0", "conv_out": "output_layer.2", "conv_in": "input_conv"}
INNER = {"conv_skip": "conv_sc", "offset": "bias"}
ORDER = ["gamma", "theta", "phi", "g", "o", "conv1", "conv2", "conv3", "conv4", "conv_sc", "bn1", "bn2", "bn3", "bn4"]
ORDER += ["gain", "weight", "bias", "u0", "sv0", "stored_mean", "stored_var"]


def read(path: epath.Path, *, bn_eps: float | None = None, sn_eps: float | None = None, suffix: str = "") -> Imported:
    """Read a weights folder, or one state dict of G or D. `suffix` selects a copy in the folder, such as best0.

    Settings that shapes cannot tell come from the arguments, else from the folder's state_dict.pth, else from the launch scripts.
    """
    explained = lambda name, *call: imported.explained(f"{path}{name} is not a state dict of BigGAN-PyTorch", *call)
    if path.is_dir():
        arrays, optimizers, run = _read_folder(path, suffix)
    else:
        loaded = files.read_arrays(path)
        arrays, optimizers, run = {"G" if explained("", is_generator, loaded) else "D": loaded}, {}, {}
    options_of_run = run.get("config", {})
    config = settings_of(options_of_run, bn_eps, sn_eps, where=f"{path}")
    synchronized = any(name.endswith(".bn.running_mean") for theirs in arrays.values() for name in theirs)
    options.name_differences(options_of_run, f"{path}", synchronized=synchronized, bn_eps=bn_eps, sn_eps=sn_eps)
    arrays = {name: canonical(theirs) for name, theirs in arrays.items()}
    groups = {name: imported.adam_group(optimizer, f"{path}: {name}_optim") for name, optimizer in optimizers.items()}
    imported.set_adam(config, groups, f"{path}")
    found = {name: explained(f": {name}", infer, theirs) for name, theirs in arrays.items()}
    imported.complete(config.model, imported.merge(found))

    shapes = imported.shapes_of(build_gan(config))
    networks, foreign = {}, {}
    for name, theirs in arrays.items():
        entry = entry_of(config.model, name != "D")
        networks[name] = tables.to_here(theirs, shapes[name[0]], entry, f"{path}: {name}", is_foreign)
        foreign[name] = {key: array for key, array in theirs.items() if is_foreign(key)}
    moments = {}
    for name, optimizer in optimizers.items():
        if optimizer["state"]:
            entry, where = entry_of(config.model, name == "G"), f"{path}: {name}_optim"
            moments[name], foreign[f"{name}_optim"] = imported.read_moments(
                optimizer, shapes[name], entry, in_order, config, name, where
            )
    extras: Extras = {"foreign": foreign}
    if "G_ema" in networks:
        extras["ema_stats"] = {key: value for key, value in networks["G_ema"].items() if key != "params"}
    foreign["counters"] = {key: np.asarray(run.get(key, value)) for key, value in COUNTERS.items() if key != "itr"}
    return Imported(config, networks, moments, imported.count_of(run.get("itr", 0), f"{path}: itr"), extras)


def write(state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path) -> None:
    """Write a weights folder that BigGAN-PyTorch loads strictly, with --resume or in its sample.py."""
    model, gan = config.model, build_gan(config)
    if model.family not in ("biggan", "biggan_deep") or model.widths != "paper" or model.d_skip_relu:
        raise UserError("BigGAN-PyTorch has only the families biggan and biggan_deep, without StudioGAN's differences")
    if model.resolution not in RESOLUTIONS:
        raise UserError(f"BigGAN-PyTorch has no network of {model.resolution} pixels; it has {RESOLUTIONS}")
    if not model.num_classes or model.pad_rgb or model.prior != "normal":
        raise UserError("BigGAN-PyTorch has only conditional networks, without model.pad_rgb, with a normal prior")
    if model.spectral_eval != "step":
        raise UserError("BigGAN-PyTorch has no model.spectral_eval=stored: it makes a power iteration in evaluation")
    if model.resolution == 32 and set(model.d_attention) not in (set(), {16, 8}):
        raise UserError(f"BigGAN-PyTorch's D of 32 pixels has attention at 16 and 8 or none, not {model.d_attention}")
    if model.resolution == 512:
        logger.warning("BigGAN-PyTorch has no D of 512 pixels: D.pth follows its naming, but it can load only G")
    if (model.bn_out_eps or model.bn_eps) != BN_OUT_EPS:
        logger.warning("BigGAN-PyTorch's output batch norm has eps 1e-5, not this model's: images differ slightly")
    G, D = imported.network_of(state.networks["G"]), imported.network_of(state.networks["D"])
    networks = {"G": G, "D": D, "G_ema": {**G, **extras.get("ema_stats", {}), "params": state.averages["G"]}}
    foreign = extras.get("foreign", {})
    out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        files.write_torch(out / f"{name}.pth", state_dict(network, gan, model, name, foreign.get(name)))
    for name in ("G", "D"):
        optimizer = _optimizer(imported.moments_of(state.networks[name]), config, name, foreign.get(f"{name}_optim"))
        files.write_torch(out / f"{name}_optim.pth", optimizer)
    counters = {key: np.asarray(value).item() for key, value in {**COUNTERS, **foreign.get("counters", {})}.items()}
    files.write_torch(out / "state_dict.pth", {**counters, "itr": int(state.step), "config": _their_config(config)})


def state_dict(network: Network, gan: Family, model: ml_collections.ConfigDict, name: str, foreign=None) -> Arrays:
    """Return one network's arrays with PyTorch names, in order. foreign: the imported logs of sigma; computed if None."""
    entry = entry_of(model, name != "D")
    arrays = tables.to_there(network, entry)
    if foreign is None:
        weights, _ = jax.jit(gan.normalize)(network["params"], network["spectral"])
        after, foreign = tables.to_there({"params": weights}, entry), {}
        for module in (key.removesuffix("u0") for key in arrays if key.endswith(".u0")):
            sigma = np.linalg.norm(arrays[f"{module}weight"]) / np.linalg.norm(after[f"{module}weight"])
            foreign[f"{module}sv0"] = np.array([sigma], np.float32)
    arrays = arrays | foreign
    return {key: arrays[key] for key in in_order(list(arrays), name != "D")}


def _read_folder(path: epath.Path, suffix: str) -> tuple[dict[str, Arrays], dict[str, dict], dict]:
    file = lambda name: path / (f"{name}_{suffix}.pth" if suffix else f"{name}.pth")
    present = [name for name in NETWORKS if file(name).exists()]
    if not present:
        stems = {f.stem.removeprefix("G_").removeprefix("ema_") for f in matching(path, "G_*.pth")}
        copies = ", ".join(sorted(stem for stem in stems if not stem.startswith(("ema", "optim"))))
        hint = f"; it has copies of --suffix {copies}" if copies else ""
        raise UserError(f"{path} has neither {file('G').name} nor {file('D').name} nor {file('G_ema').name}{hint}")
    arrays = {name: files.read_arrays(file(name)) for name in present}
    optimizers = [name for name in ("G", "D") if name in present and file(f"{name}_optim").exists()]
    run = files.read_torch(file("state_dict")) if file("state_dict").exists() else {"itr": 0, "config": {}}
    if not (isinstance(run, dict) and {"itr", "config"} <= run.keys()):
        raise UserError(f"{file('state_dict')} is not from a BigGAN-PyTorch run: it must have itr and config")
    return arrays, {name: files.read_torch(file(f"{name}_optim")) for name in optimizers}, run


def settings_of(
    run: dict, bn_eps: float | None = None, sn_eps: float | None = None, where: str = ""
) -> ml_collections.ConfigDict:
    """Return our config with the training settings of a BigGAN-PyTorch run. The architecture is read from the array shapes."""
    config = imported.base_config()
    config.regularizer.update(ortho_factor=2.0, g_ortho=0.0, d_ortho=0.0)
    config.model.update(bn_eps=BN_EPS, spectral_eps=SN_EPS, bn_out_eps=BN_OUT_EPS)
    config.update_from_flattened_dict({ours: run[theirs] for theirs, ours in SETTINGS.items() if theirs in run})
    config.model.update(bn_eps=bn_eps or config.model.bn_eps, spectral_eps=sn_eps or config.model.spectral_eps)
    options.refuse_unsupported(run, where)
    for what in ("accumulations", "SV_itrs"):
        g, d = (run.get(f"num_{who}_{what}") for who in "GD")
        if g != d:
            logger.warning("%s has num_G_%s %s, but num_D_%s %s; here both are the latter", where, what, g, what, d)
    if run.get("z_var", 1.0) != 1.0:
        logger.warning("%s was trained with z_var %s; latents here have a standard deviation of 1", where, run["z_var"])
    config.batch_size = run.get("batch_size", config.batch_size) * config.microbatches
    config.spectral_advance = "microbatch" if config.microbatches > 1 else "update"
    groups = {
        who: {
            "lr": run.get(f"{who}_lr", config.optimizer[f"{who.lower()}_lr"]),
            "betas": (run.get(f"{who}_B1", 0.0), run.get(f"{who}_B2", 0.999)),
            "eps": run.get("adam_eps", config.optimizer.eps),
        }
        for who in ("G", "D")
    }
    imported.set_adam(config, groups, where)
    return config


def _optimizer(moments: Moments, config, name: str, means: Arrays | None) -> dict:
    """Return the state dict of torch.optim.Adam. means: used if we keep none; zeros if None."""
    theirs = lambda tree: tables.to_there({"params": tree}, entry_of(config.model, name == "G"))
    return imported.adam_state(moments, theirs, in_order, config, name, means)


def _their_config(config: ml_collections.ConfigDict) -> dict:
    """Return the run's settings under BigGAN-PyTorch's names."""
    model, values = config.model, flatten(config.to_dict())
    return {
        **{theirs: values[ours] for theirs, ours in SETTINGS.items()},
        "model": "BigGANdeep" if model.family == "biggan_deep" else "BigGAN",
        "resolution": model.resolution,
        "n_classes": model.num_classes,
        "G_ch": model.g_ch or model.ch,
        "D_ch": model.d_ch or model.ch,
        "G_depth": model.depth,
        "D_depth": model.depth,
        "dim_z": model.dim_z,
        "shared_dim": model.shared_dim,
        "G_shared": model.shared_embedding,
        "hier": model.skip_z or model.family == "biggan_deep",
        "G_param": "SN" if model.g_spectral_norm else "none",
        "D_param": "SN" if model.d_spectral_norm else "none",
        "G_attn": "_".join(map(str, model.g_attention)) or "0",
        "D_attn": "_".join(map(str, model.d_attention)) or "0",
        "D_wide": model.d_wide,
        "adam_eps": config.optimizer.eps,
        "G_lr": config.optimizer.g_lr,
        "D_lr": config.optimizer.d_lr,
        **{f"{who}_B{i}": config.optimizer[f"b{i}"] for who in "GD" for i in (1, 2)},
        "num_G_SV_itrs": model.spectral_iterations,
        "num_G_accumulations": config.microbatches,
        "batch_size": config.batch_size // config.microbatches,
        "ema": True,
    }


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
    of_kernels = tables.CONVOLUTION if len(shape) == 4 else tables.TRANSPOSED
    layout = {"kernel": of_kernels, "u0": tables.ROW}.get(leaf, tables.SAME)
    if not (is_generator and scopes == ["linear"]):
        return layout
    first = tables.channels_last()  # The features are axis 0 of weight and bias, and axis 1 of u0.
    return layout.then(first) if leaf == "u0" else first.then(layout)


def canonical(arrays: Arrays) -> Arrays:
    """Return a state dict under the names of a run without --cross_replica, --mybn and further singular vectors.

    Running statistics of both batch norms move to the names of the plain one; sums of standing statistics (--mybn) become
    means. Vectors u1, u2, ... and their sigmas are left out: only the first divides the weight, and it does not depend on them.
    """
    found = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if re.fullmatch(r"(u|sv)[1-9]\d*", leaf) or leaf in ("accumulation_counter", "num_batches_tracked"):
            continue
        if module.endswith(".bn"):
            passes = arrays.get(f"{module}.accumulation_counter", np.zeros(1))
            array = array / passes if np.all(passes > 0) else array
            name = f"{module.removesuffix('.bn')}.{leaf.replace('running', 'stored')}"
        found[name] = array
    return found


def is_generator(arrays: Arrays) -> bool:
    """Return whether this is G's state dict (or else D's). Raises UserError if it is neither."""
    if "output_layer.2.weight" in arrays:
        return True
    if "embed.weight" in arrays and "linear.weight" in arrays:
        return False
    raise UserError("it has neither G's output_layer.2.weight nor D's embed.weight")


def infer(arrays: Arrays) -> dict:
    """Infer keys of config.model from the shapes of a state dict. Call by `imported.explained`."""
    shapes = {name: array.shape for name, array in arrays.items()}
    return infer_generator(shapes) if is_generator(arrays) else infer_discriminator(shapes)


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
