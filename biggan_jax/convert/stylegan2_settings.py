"""The arguments of StyleGAN2-ADA's Generator and Discriminator, and the keys of config.model that they are."""

from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from biggan_jax.convert.imported import check_model
from biggan_jax.types import UserError

Arguments = Mapping[str, Any]

PARTS: dict[str, dict[str, dict[str, str]]] = {
    "G": {
        "": {"z_dim": "dim_z", "c_dim": "num_classes", "w_dim": "dim_w"},
        "mapping_kwargs": {
            "num_layers": "mapping_layers",
            "embed_features": "embed_dim",
            "layer_features": "mapping_dim",
            "lr_multiplier": "mapping_lr",
            "w_avg_beta": "w_decay",
        },
        "synthesis_kwargs": {
            "channel_base": "channel_base",
            "channel_max": "channel_max",
            "architecture": "g_architecture",
            "conv_clamp": "clamp",
            "num_fp16_res": "bfloat16_stages",
            "use_noise": "noise",
        },
    },
    "D": {
        "": {
            "c_dim": "num_classes",
            "channel_base": "d_channel_base",
            "channel_max": "d_channel_max",
            "architecture": "d_architecture",
            "conv_clamp": "clamp",
            "num_fp16_res": "bfloat16_stages",
            "cmap_dim": "d_mapping_dim",
        },
        "mapping_kwargs": {"num_layers": "d_mapping_layers", "lr_multiplier": "mapping_lr"},
        "epilogue_kwargs": {"mbstd_group_size": "d_stddev_group", "mbstd_num_channels": "d_stddev_maps"},
    },
}
"""By network and argument that is a dict: names there to keys of config.model."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "G": {
        "embed_dim": 0, "mapping_layers": 8, "mapping_dim": 0, "mapping_lr": 0.01, "w_decay": 0.995, "channel_base": 32768,
        "channel_max": 512, "g_architecture": "skip", "clamp": 0.0, "bfloat16_stages": 0, "noise": True,
    },
    "D": {
        "d_channel_base": 32768, "d_channel_max": 512, "d_architecture": "resnet", "clamp": 0.0, "bfloat16_stages": 0,
        "d_mapping_dim": 0, "d_mapping_layers": 8, "mapping_lr": 0.01, "d_stddev_group": 4, "d_stddev_maps": 1,
    },
}  # fmt: skip
"""What the peer takes for an argument that is not given."""

ALLOWED = {"activation": "lrelu", "resample_filter": [1, 3, 3, 1], "fp16_channels_last": None, "freeze_layers": None}
"""Arguments without a key here, and the one value that they may have; None: any."""
NESTED = {"block_kwargs", "layer_kwargs"}


def to_model(network: str, arguments: Arguments) -> dict[str, Any]:
    """Return the keys of config.model that arguments of G or D are. Raises UserError for those that this family does not have."""
    found = dict(DEFAULTS[network])
    size = arguments.get("img_resolution"), arguments.get("img_resolution"), arguments.get("img_channels", 3)
    for part, value in _parts(network, arguments):
        names = PARTS[network][part]
        for name, argument in value.items():
            if name in names:
                found[names[name]] = 0 if argument is None else argument
            elif name in ALLOWED:
                if ALLOWED[name] not in (None, list(argument) if isinstance(argument, tuple) else argument):
                    raise UserError(f"its {network} has {name}={argument}, which family stylegan2 does not have")
            elif part or name not in ("img_resolution", "img_channels"):
                raise UserError(f"its {network} has the argument {name}, which is not known")
    if network == "G" and found["embed_dim"] == found["dim_w"]:
        found["embed_dim"] = 0
    if network == "D" and not found.get("num_classes"):
        found |= {"d_mapping_dim": 0}
    return check_model("stylegan2", found | {"image_shape": size})


def _parts(network: str, arguments: Arguments):
    """Yield (name in PARTS, arguments), with block_kwargs and layer_kwargs among those that they are in."""
    top: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in PARTS[network]:
            yield name, _flat(name, value)
        else:
            top |= _flat("its arguments", {name: value})
    yield "", top


def _flat(part: str, arguments: Any, depth: int = 0) -> dict[str, Any]:
    if not isinstance(arguments, Mapping) or depth > len(NESTED):
        raise UserError(f"{part} are no arguments by name")
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            raise UserError(f"{name} is an array, where the peer has a plain value")
        flat |= _flat(name, value, depth + 1) if name in NESTED else {name: value}
    return flat


def to_arguments(config: ml_collections.ConfigDict) -> dict[str, dict[str, Any]]:
    """Return the arguments of the peer's G and D. Raises UserError for networks that it does not have."""
    model = config.model
    if model.family != "stylegan2":
        raise UserError(f"StyleGAN2-ADA has no network like family {model.family}")
    height, width, channels = model.image_shape
    if height != width:
        raise UserError(
            f"StyleGAN2-ADA's images are square, and this model's have the shape {tuple(model.image_shape)}"
        )
    size = model.num_classes or model.condition_dim
    own = {**model, "num_classes": size}
    own |= {f"d_{key}": model[f"d_{key}"] or model[key] for key in ("channel_base", "channel_max")}
    optional = {"embed_dim", "mapping_dim", "d_mapping_dim", "clamp", "d_stddev_group"}
    found = {}
    for network, parts in PARTS.items():
        arguments: dict[str, Any] = {"img_resolution": height, "img_channels": channels}
        for part, names in parts.items():
            values = {name: own[key] or (None if key in optional else own[key]) for name, key in names.items()}
            arguments |= {part: values} if part else values
        found[network] = arguments
    return found
