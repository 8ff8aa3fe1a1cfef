"""Read and write PyTorch-StudioGAN's checkpoints: model=G-current-weights-step=N.pth, the same of D and G_ema."""

import json
import logging
import re
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Extras
from biggan_jax.config import choose
from biggan_jax.convert import files, imported, tables
from biggan_jax.convert import studiogan as project
from biggan_jax.convert.imported import Imported, Moments
from biggan_jax.convert.tables import Arrays, Network
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.models.tables import discriminator_sizes, generator_sizes, widths_of
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

BN_EPS, SN_EPS, MOMENTUM = 1e-4, 1e-6, 0.9
NETWORKS = ("G", "D", "G_ema")
NAME = re.compile(r"model=(G_ema|G|D)-(\w+)-weights-step=(\d+)\.(pth|npz)")


def read(path: epath.Path, *, suffix: str = "", backbone: str = "", head: str = "") -> Imported:
    """Read a folder of checkpoints, one of them, or a state dict of G or D. Raises UserError.

    Args:
        suffix: which checkpoints of a folder, current or best. By default current, if there are any.
        backbone, head: its names of them, for what shapes cannot tell: resnet or big_resnet of an unconditional G or of a D
            alone; 2C or D2DCE.
    """
    for value, known, flag in ((backbone, project.BACKBONES, "--backbone"), (head, project.EQUAL_HEADS, "--head")):
        if value:
            choose(dict.fromkeys(known), flag, value)
    loaded = {name: _load(file) for name, file in _files(path, suffix).items()}
    explained = lambda *call: imported.explained(f"{path} is not a state dict of StudioGAN", *call)
    if not path.is_dir():
        (one,) = loaded.values()
        generator = explained(project.is_generator, one["state_dict"])
        loaded = {("G_ema" if "G_ema" in path.name else "G") if generator else "D": one}
    arrays = {name: checkpoint["state_dict"] for name, checkpoint in loaded.items()}
    inferred = explained(lambda theirs: project.infer_all(theirs, backbone=backbone, head=head), arrays)
    found = ({"backbone": backbone} if backbone else {}) | imported.merge(inferred)
    config = config_of(found, set(arrays))
    optimizers = {name: loaded[name]["optimizer"] for name in ("G", "D") if "optimizer" in loaded.get(name, {})}
    optimizers = {name: optimizer for name, optimizer in optimizers.items() if _is_adam(optimizer, name, path)}
    groups = {name: imported.adam_group(optimizer, f"{path}: {name}") for name, optimizer in optimizers.items()}
    imported.set_adam(config, groups, str(path))
    _say_what_is_unknown(found, head)

    shapes = imported.shapes_of(build_gan(config))
    networks, moments, foreign = {}, {}, {}
    for name, theirs in arrays.items():
        entry = project.entry_of(config.model, name != "D", shapes[name[0]])
        networks[name] = tables.to_here(theirs, shapes[name[0]], entry, f"{path}: {name}", project.is_foreign)
        foreign[name] = {key: array for key, array in theirs.items() if project.is_foreign(key)}
    for name, optimizer in optimizers.items():
        if optimizer["state"]:
            entry = project.entry_of(config.model, name == "G", {"params": shapes[name]["params"]})
            moments[name], foreign[f"{name}_optim"] = imported.read_moments(
                optimizer, shapes[name], entry, project.in_order, config, name, f"{path}: {name}"
            )
    extras: Extras = {"foreign": foreign}
    if "G_ema" in networks:
        extras["ema_stats"] = {key: value for key, value in networks["G_ema"].items() if key != "params"}
    return Imported(config, networks, moments, _step(loaded, path), extras)


def write(state: TrainState, config: ml_collections.ConfigDict, extras: Extras, out: epath.Path) -> None:
    """Write a folder that StudioGAN loads strictly, and the settings of its networks as model.yaml. Raises UserError."""
    model, gan = config.model, build_gan(config)
    settings = settings_of(config)
    if model.get("spectral_iterations", 1) != 1:
        logger.warning("StudioGAN makes one power iteration a pass, this model %d", model.spectral_iterations)
    for key, theirs in (("bn_eps", BN_EPS), ("bn_out_eps", BN_EPS), ("bn_momentum", MOMENTUM)):
        if model.get(key, theirs) not in (theirs, 0.0):
            logger.warning("StudioGAN has model.%s %s, this model %s: results differ slightly", key, theirs, model[key])
    G, D = imported.network_of(state.networks["G"]), imported.network_of(state.networks["D"])
    networks = {"G": G, "D": D, "G_ema": {**G, **extras.get("ema_stats", {}), "params": state.averages["G"]}}
    foreign = extras.get("foreign", {})
    out.mkdir(parents=True, exist_ok=True)
    step = int(state.step)
    for name, network in networks.items():
        checkpoint: dict[str, Any] = {"state_dict": state_dict(network, gan, config, name, foreign.get(name))}
        if name != "G_ema" and config.optimizer.name == "adam":
            moments = imported.moments_of(state.networks[name])
            checkpoint["optimizer"] = _optimizer(moments, config, name, foreign.get(f"{name}_optim"))
        if name == "D":
            checkpoint |= {"seed": int(state.seed), "run_name": "biggan-jax", "step": step, "epoch": 0, "aa_p": 0.0}
            checkpoint |= {
                "topk": "initialize",
                "best_step": 0,
                "best_fid": None,
                "best_fid_ckpt": "",
                "lecam_emas": None,
            }
        files.write_torch(out / f"model={name}-current-weights-step={step}.pth", checkpoint)
    (out / "model.yaml").write_text(json.dumps(settings, indent=2) + "\n")  # JSON is YAML.


def state_dict(
    network: Network, gan: Family, config: ml_collections.ConfigDict, name: str, foreign: Arrays | None = None
) -> Arrays:
    """Return one network's arrays with PyTorch names, in order. foreign: the imported counters of batches, 0 if None."""
    generator = name != "D"
    network = _complete({key: value for key, value in network.items()}, gan, config)
    arrays = tables.to_there(network, project.entry_of(config.model, generator, network))
    arrays = project.to_arrays(arrays | (foreign or {}))
    return {key: arrays[key] for key in project.in_order(list(arrays), generator)}


def _complete(network: Network, gan: Family, config: ml_collections.ConfigDict) -> Network:
    """Add what StudioGAN stores and this model does not: v, and the bias of D's last layer."""
    vectors = network["spectral"]
    if gan.spectral_eval != "stored":
        # Its evaluation makes no power iteration: export the vectors after ours, so that sigma is the same.
        _, vectors = jax.jit(gan.evaluation_step)(network["params"], {"u": vectors["u"], "v": {}})
    return {**network, "params": _with_bias(network["params"], config), "spectral": vectors}


def _with_bias(params, config: ml_collections.ConfigDict):
    """Add a bias of 0 to the last layer of a D without one."""
    if config.model.get("d_bias", True) or "conv_out" in params:
        return params
    return {**params, "linear": {**params["linear"], "bias": np.zeros(params["linear"]["kernel"].shape[1], np.float32)}}


def config_of(found: dict, roles: set[str]) -> ml_collections.ConfigDict:
    """Return the config of what was inferred, with StudioGAN's default settings of training. Raises UserError."""
    family = project.family_of(found)
    config = imported.base_config(family)
    config.update(batch_size=64, d_steps=5, loss="hinge")
    config.optimizer.update(g_lr=2e-4, d_lr=2e-4, b1=0.5, b2=0.999, eps=1e-6)
    config.ema.update(decay=0.9999, start=1000)
    has_d = "D" in roles
    d_norm = found.get("d_spectral_norm", family in ("biggan", "biggan_deep", "sagan"))
    config.model.update(
        num_classes=found.get("num_classes", 0),
        spectral_eps=SN_EPS,
        spectral_eval="stored",
        g_spectral_norm=found.get("g_spectral_norm", d_norm if family != "sngan" else False),
        d_spectral_norm=d_norm,
    )
    head = found.get("head", "PD" if found.get("num_classes") else "W/O")
    config.condition.d = project.HEADS[head]
    config.condition.embed_dim = found.get("embed_dim", config.condition.embed_dim)
    if head == "MH":
        config.loss = "multi_hinge"
    _SETTINGS[family](config.model, found, has_d)
    return config


def _set_deep_conv(model: ml_collections.ConfigDict, found: dict, has_d: bool) -> None:
    shape = (found["resolution"], found["resolution"], found["channels"])
    model.update(form="deep_conv", image_shape=shape, ch=found["ch"], dim_z=found.get("dim_z", 128))


def _set_resnet(model: ml_collections.ConfigDict, found: dict, has_d: bool) -> None:
    if has_d and found["d_batch_norm"] == found["d_spectral_norm"]:
        raise UserError("D has batch norm and spectral norm, or neither; StudioGAN's resnet has one of them")
    shape = (found["resolution"], found["resolution"], found["channels"])
    model.update(image_shape=shape, init="orthogonal", d_bias=True, bn_eps=BN_EPS, bn_momentum=MOMENTUM)
    norm = found.get("d_batch_norm", not model.d_spectral_norm)
    model.update(d_batch_norm=norm, d_skip_relu=not norm, g_spectral_tables=True, dim_z=found.get("dim_z", 128))
    sizes = generator_sizes(found["resolution"]), project.halved(found["resolution"])
    _set_channels(model, found, *sizes)


def _set_biggan(model: ml_collections.ConfigDict, found: dict, has_d: bool) -> None:
    if found["channels"] != 3:
        raise UserError(f"its images have {found['channels']} channels; {model.family} has 3")
    resolution, deep = found["resolution"], model.family == "biggan_deep"
    if has_d and not deep and found["d_batch_norm"]:
        raise UserError("D has batch norm in place of spectral norm, and the D of family biggan has none")
    _set_channels(model, found, generator_sizes(resolution), project.halved(resolution))
    chunks = len(project.WIDTHS[resolution][0])
    model.update(resolution=resolution, widths="studiogan", d_skip_relu=True, bn_eps=BN_EPS, bn_momentum=MOMENTUM)
    model.update(dim_z=found.get("dim_z", 128 if deep else 20 * chunks), shared_dim=found.get("shared_dim", 128))


_SETTINGS = {
    "dcgan": _set_deep_conv,
    "sngan": _set_resnet,
    "sagan": _set_resnet,
    "biggan": _set_biggan,
    "biggan_deep": _set_biggan,
}


def _set_channels(model: ml_collections.ConfigDict, found: dict, g_sizes: list[int], d_sizes: list[int]) -> None:
    """Set channels and attention; a missing network has those of the other, as far as they fit."""
    ch = found.get("g_ch", found.get("d_ch"))
    attended = found.get("g_attention", found.get("d_attention", ()))
    model.ch = ch
    for who, sizes in (("g", g_sizes), ("d", d_sizes)):
        own = found.get(f"{who}_ch", ch)
        model[f"{who}_ch"] = 0 if own == ch else own
        model[f"{who}_attention"] = found.get(f"{who}_attention", tuple(size for size in attended if size in sizes))


def settings_of(config: ml_collections.ConfigDict) -> dict:
    """Return the sections DATA and MODEL of StudioGAN's config. Raises UserError for a model that it does not have."""
    model = config.model
    refuse = lambda what: UserError(f"StudioGAN has no {what}")
    if model.family not in _SETTINGS or model.get("form", "deep_conv") != "deep_conv":
        form = f" of the form {model.form}" if "form" in model else ""
        raise refuse(
            f"network like family {model.family}{form}; it has those of {', '.join(_SETTINGS)} (form deep_conv)"
        )
    if model.get("condition_dim", 0):
        raise refuse("condition of real numbers")
    shape = tuple(model.get("image_shape", (model.get("resolution"),) * 2 + (3,)))
    if shape[0] != shape[1] or shape[2] != 3 or shape[0] not in project.WIDTHS:
        raise refuse(f"network for images of the shape {shape}; it has squares of 32 to 512 pixels with 3 channels")
    if "d_skip_relu" in model and model.d_skip_relu == model.get("d_batch_norm", False):
        raise refuse("D whose skip connections see the input before ReLU, unless it has batch norm (model.d_skip_relu)")
    if model.g_spectral_norm and model.num_classes and not model.get("g_spectral_tables", True):
        raise refuse("spectral norm in G that leaves out conditional batch norm (model.g_spectral_tables=False)")
    if not model.get("d_wide", True):
        raise refuse("D whose blocks change channels at the second convolution (model.d_wide=False)")
    names = {ours: theirs for theirs, ours in project.HEADS.items()}
    settings: dict[str, Any] = {
        "g_cond_mtd": "cBN" if model.num_classes else "W/O",
        "d_cond_mtd": names[config.condition.d] if model.num_classes else "W/O",
        "apply_g_sn": model.g_spectral_norm,
        "apply_d_sn": model.d_spectral_norm,
        "z_dim": model.dim_z,
        "apply_g_ema": True,
    }
    if config.condition.d in ("contrastive", "d2dce"):
        settings |= {"d_embed_dim": config.condition.embed_dim, "normalize_d_embed": True}
    if config.condition.d == "ac":
        settings["normalize_d_embed"] = config.condition.normalize
    if model.family == "dcgan":
        settings |= {"backbone": "deep_conv", "g_conv_dim": "N/A", "d_conv_dim": "N/A"}
        if model.ch != 64:
            logger.warning(
                "StudioGAN's deep_conv has widths from 64 to 512 (model.ch=64), this model model.ch=%d", model.ch
            )
    else:
        settings |= _resnet_settings(model, shape[0])
    return {"DATA": {"img_size": shape[0], "num_classes": model.num_classes or 10}, "MODEL": settings}


def _resnet_settings(model: ml_collections.ConfigDict, resolution: int) -> dict:
    g_ch, d_ch = model.g_ch or model.ch, model.d_ch or model.ch
    if model.family in ("sngan", "sagan"):
        if model.d_batch_norm == model.d_spectral_norm:
            raise UserError(
                "StudioGAN's D has either spectral norm or batch norm (model.d_batch_norm), not both or neither"
            )
        return {"backbone": "resnet", "g_conv_dim": g_ch, "d_conv_dim": d_ch} | _attention(model, resolution)
    deep = model.family == "biggan_deep"
    if model.pad_rgb or not (deep or (model.shared_embedding and model.skip_z)):
        raise UserError(
            "StudioGAN's BigGAN has a shared embedding, chunks of z in each block, and no padded RGB convolution"
        )
    if (deep and model.depth != 2) or (deep and not model.num_classes):
        raise UserError("StudioGAN's BigGAN-deep has classes and two blocks in each stage")
    if not deep and not model.d_spectral_norm:
        raise UserError("StudioGAN's D without spectral norm has batch norm, and the D of family biggan has none")
    if widths_of(resolution, model.widths, deep=deep) != widths_of(resolution, "studiogan", deep=deep):
        raise UserError(f"StudioGAN's networks of {resolution} pixels have the channels of model.widths=studiogan")
    settings = {"backbone": "big_resnet_deep_legacy" if deep else "big_resnet", "g_shared_dim": model.shared_dim}
    settings |= {"g_depth": 2, "d_depth": 2} if deep else {}
    settings |= {"g_conv_dim": g_ch, "d_conv_dim": d_ch}
    return settings | _attention(model, resolution)


def _attention(model: ml_collections.ConfigDict, resolution: int) -> dict:
    if not model.g_attention and not model.d_attention:
        return {"apply_attn": False}
    # With the paper's widths attention follows all blocks of a size, in StudioGAN one.
    all_of_them = model.get("widths") == "paper"
    d_sizes = discriminator_sizes(resolution, model.family) if all_of_them else project.halved(resolution)
    at = lambda sizes, attended: [i + 1 for i, size in enumerate(sizes) if size in attended]
    g_loc, d_loc = at(generator_sizes(resolution), model.g_attention), at(d_sizes, model.d_attention)
    return {"apply_attn": True, "attn_g_loc": g_loc, "attn_d_loc": d_loc}


def _say_what_is_unknown(found: dict, head: str) -> None:
    """Say what the arrays do not tell."""
    logger.info(
        "the files hold no loss, penalties or number of D's updates: the config has StudioGAN's defaults, and hinge; "
        "set those of the run before training further"
    )
    if found.get("head") in project.EQUAL_HEADS and not head:
        logger.info(
            "D's head is 2C or D2DCE, which have equal arrays; it is taken for 2C: --head=D2DCE takes the other"
        )
    if found.get("head") == "AC":
        logger.info(
            "D's head AC is taken for one with normalize_d_embed=False, which its arrays do not tell; "
            "to train one that has it, set condition.normalize=True"
        )
    if "backbone" not in found:
        logger.info(
            "D of resnet and of big_resnet are equal; it is taken for resnet: --backbone=big_resnet takes the other"
        )


def _files(path: epath.Path, suffix: str) -> dict[str, epath.Path]:
    """Return the files by network. Raises UserError for a folder without any."""
    if not path.is_dir():
        return {path.name: path}
    named = [(match, file) for file in sorted(path.iterdir()) if (match := NAME.fullmatch(file.name))]
    whens = sorted({match[2] for match, _ in named})
    when = suffix or ("current" if "current" in whens or not whens else whens[0])
    chosen = {match[1]: file for match, file in named if match[2] == when}
    if not chosen:
        has = f"; it has --suffix {', '.join(whens)}" if whens else ""
        raise UserError(f"{path} has no file named model=G-{when}-weights-step=N.pth, nor one of D or G_ema{has}")
    return {name: chosen[name] for name in NETWORKS if name in chosen}


def _load(path: epath.Path) -> dict:
    """Return a checkpoint as {state_dict, and what else it holds}; a plain state dict is one too."""
    if path.suffix == ".npz":
        return {"state_dict": files.read_arrays(path)}
    loaded = files.read_torch(path)
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        return {**loaded, "state_dict": files.to_arrays(loaded["state_dict"], path)}
    return {"state_dict": files.to_arrays(loaded, path)}


def _step(loaded: dict[str, dict], path: epath.Path) -> int:
    """Return the step of training: D's checkpoint holds it, else a file's name."""
    step = loaded.get("D", {}).get("step")
    match = NAME.fullmatch(path.name) or re.search(r"()()step=(\d+)", path.name)
    if not isinstance(step, int) and path.is_dir():
        match = next(filter(None, (NAME.fullmatch(file.name) for file in sorted(path.iterdir()))), None)
    found = step if isinstance(step, int) else int(match[3]) if match else 0
    return imported.count_of(found, f"{path}: its step")


def _is_adam(optimizer: Any, name: str, path: epath.Path) -> bool:
    groups = optimizer.get("param_groups") if isinstance(optimizer, dict) else None
    adam = "betas" in groups[0] if groups else False
    if not adam:
        logger.info("%s: the optimizer of %s is not Adam; its state is not converted", path, name)
    return adam


def _optimizer(moments: Moments, config: ml_collections.ConfigDict, name: str, means: Arrays | None) -> dict:
    """Return the state dict of torch.optim.Adam."""

    def theirs(tree):
        network = {"params": _with_bias(tree, config)}
        return tables.to_there(network, project.entry_of(config.model, name != "D", network))

    return imported.adam_state(moments, theirs, project.in_order, config, name, means)
