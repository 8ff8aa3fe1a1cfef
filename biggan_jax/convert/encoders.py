"""PyTorch array names of encoders that evaluate samples: DINOv2, CLIP and SwAV, in their authors' files and in Hugging Face's."""

import re
from collections.abc import Mapping

import numpy as np

from biggan_jax.convert import tables
from biggan_jax.convert.tables import Arrays, Entry, Network, Path

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}

DINOV2_HF = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)": r"blocks.\1.attn.proj",
    r"encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1": r"blocks.\1.ls\2.gamma",
    r"encoder\.layer\.(\d+)\.(norm\d|mlp\.fc\d)": r"blocks.\1.\2",
    r"layernorm": "norm",
}
"""Names of Hugging Face to those of the authors, without query, key and value."""

CLIP_HF = {
    r"vision_model\.embeddings\.class_embedding": "class_embedding",
    r"vision_model\.embeddings\.patch_embedding": "conv1",
    r"vision_model\.embeddings\.position_embedding\.weight": "positional_embedding",
    r"vision_model\.pre_layrnorm": "ln_pre",
    r"vision_model\.post_layernorm": "ln_post",
    r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj": r"transformer.resblocks.\1.attn.out_proj",
    r"vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)": r"transformer.resblocks.\1.ln_\2",
    r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1": r"transformer.resblocks.\1.mlp.c_fc",
    r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2": r"transformer.resblocks.\1.mlp.c_proj",
}


def dinov2(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert DINOv2 to {params} with the shapes of `network`. Raises UserError naming what in file `name` does not fit."""
    arrays = {there.removeprefix("dinov2."): array for there, array in arrays.items()}
    if any(there.startswith("encoder.layer.") for there in arrays):
        projections = r"(encoder\.layer\.\d+\.attention)(?:\.attention)?\.(query|key|value|[qkv]_proj)\.(weight|bias)"
        joined = _joined(arrays, projections)
        layers = r"encoder\.layer\.(\d+)\.attention\.(weight|bias)$"
        renamed = {re.sub(layers, r"blocks.\1.attn.qkv.\2", k): v for k, v in joined.items()}
        arrays = _renamed(renamed, DINOV2_HF)
    return tables.to_here(arrays, network, dinov2_entry, name, lambda there: there.endswith("mask_token"))


def dinov2_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    names = {"patch": "patch_embed.proj", "qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    scopes = [re.sub(r"^block_", "blocks.", names.get(scope, scope)) for scope in path[1:-1]]
    leaf = f"{path[-1]}.gamma" if path[-1] in ("ls1", "ls2") else path[-1]
    return _entry(path, shape, scopes, leaf)


def clip(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert CLIP's image encoder, as `dinov2`; arrays of the text encoder are left out."""
    if any(there.startswith("vision_model.") for there in arrays):
        arrays = {there: array for there, array in arrays.items() if there.startswith(("vision_model.", "visual_proj"))}
        joined = _joined(arrays, r"(vision_model\.encoder\.layers\.\d+\.self_attn)\.([qkv])_proj\.(weight|bias)")
        layers = r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.(weight|bias)$"
        renamed = {re.sub(layers, r"transformer.resblocks.\1.attn.in_proj_\2", k): v for k, v in joined.items()}
        arrays = _renamed(renamed, CLIP_HF)
        if "visual_projection.weight" in arrays:
            arrays["proj"] = arrays.pop("visual_projection.weight").T
    elif any(there.startswith("visual.") for there in arrays):
        arrays = {there.removeprefix("visual."): a for there, a in arrays.items() if there.startswith("visual.")}
    return tables.to_here(arrays, network, clip_entry, name, lambda there: there.endswith("position_ids"))


def clip_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    names = {"patch": "conv1", "norm1": "ln_1", "norm2": "ln_2", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}
    if path[-2:-1] == ("qkv",):
        there = f"transformer.resblocks.{path[1].removeprefix('block_')}.attn.in_proj_{LEAVES.get(path[-1], path[-1])}"
        return Entry(there, path, tables.TRANSPOSED if len(shape) == 2 else tables.SAME)
    if path[-2:-1] == ("proj",):
        names["proj"] = "attn.out_proj"
    scopes = [re.sub(r"^block_", "transformer.resblocks.", names.get(scope, scope)) for scope in path[1:-1]]
    return _entry(path, shape, scopes, path[-1])


def swav(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert SwAV's ResNet-50 to {params, batch_stats}, as `dinov2`; its head and prototypes are left out."""
    arrays = {there.removeprefix("module."): array for there, array in arrays.items()}
    left_out = lambda there: (
        there.startswith(("projection_head", "prototypes", "fc.")) or there.endswith("batches_tracked")
    )
    return tables.to_here(arrays, network, swav_entry, name, left_out)


def swav_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    scopes = [re.sub(r"^(layer\d|downsample)_", r"\1.", scope) for scope in path[1:-1]]
    return _entry(path, shape, scopes, path[-1])


def _entry(path: Path, shape: tuple[int, ...], scopes: list[str], leaf: str) -> Entry:
    # Only kernels change their layout; tables of positions and the projection do not.
    layouts = {2: tables.TRANSPOSED, 4: tables.CONVOLUTION}
    layout = layouts.get(len(shape), tables.SAME) if path[-1] == "kernel" else tables.SAME
    return Entry(".".join([*scopes, LEAVES.get(leaf, leaf)]), path, layout)


def _joined(arrays: Arrays, pattern: str) -> Arrays:
    """Concatenate the arrays of query, key and value, in this order, as SCOPE.weight and SCOPE.bias."""
    found: Arrays = {}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for there, array in arrays.items():
        if match := re.fullmatch(pattern, there):
            parts.setdefault(f"{match[1]}.{match[3]}", {})[match[2][0]] = array
        else:
            found[there] = array
    return found | {there: np.concatenate([part[i] for i in "qkv"]) for there, part in parts.items() if len(part) == 3}


def _renamed(arrays: Arrays, names: Mapping[str, str]) -> Arrays:
    """Replace the start of each name by the first pattern that matches it up to a dot or the end."""
    found = {}
    for there, array in arrays.items():
        new = there
        for pattern, name in names.items():
            if re.match(rf"{pattern}(?=\.|$)", there):
                new = re.sub(rf"^{pattern}", name, there)
                break
        found[new] = array
    return found
