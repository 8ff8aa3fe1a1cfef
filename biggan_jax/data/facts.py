"""What a config's prepared set holds, from which `--config=auto` chooses."""

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.config import Facts, base
from biggan_jax.data import features, stats, tfds
from biggan_jax.types import UserError


def facts_of(config: ml_collections.ConfigDict) -> Facts:
    """Return the facts of the training split that the section `data` of a config names; nothing else of it is read.

    Raises UserError if the set cannot be read, or does not have pictures.
    """
    data = config.data
    if data.name != "tfds":
        known = "the presets quickstart and digits have such data"
        raise UserError(f"auto chooses for prepared sets, data.name=tfds, not for data.name={data.name}; {known}")
    if not (data.dir or data.dataset):
        raise UserError(
            "auto needs a prepared set: give its folder as --config.data.dir=DIR; see biggan-prepare --help"
        )
    builder = tfds.find(data.dataset, data.dir)
    where, info = epath.Path(builder.data_path), builder.info
    fields = features.fields_of(info.features, where, features.keys_of(config), labelled=False)
    if not fields.channels:
        raise UserError(f"{where} has vectors, and auto is for pictures; use a preset such as classic/cgan_mnist")
    if "train" not in info.splits or not info.splits["train"].num_examples:
        raise UserError(f"{where} has no pictures to train on: its splits are {', '.join(info.splits) or 'none'}")
    form = tfds.checked_of(where).get("form", {})
    if form.get("frames"):
        raise UserError(f"{where} has clips, and auto is for single pictures; use a preset such as classic/vgan64")
    if form.get("first"):
        raise UserError(
            f"{where} has pairs of pictures, and auto is for single ones; use a preset such as classic/pix2pix"
        )
    height, width = fields.shape[:2] if fields.shape else _median_size(config, fields.channels)
    return Facts(
        int(info.splits["train"].num_examples),
        len(features.class_names(info.features, fields.label)),
        (height, width, fields.channels),
        bool(fields.shape),
        fields.condition,
        form.get("resize", "area") if fields.shape else "area",
        str(where),
    )


def _median_size(config: ml_collections.ConfigDict, channels: int) -> tuple[int, int]:
    """Return the median height and width of whole files."""
    provisional = base("gan")
    provisional.data = config.data.copy_and_resolve_references()
    provisional.data.resize = "area"
    provisional.model.image_shape = (128, 128, channels)
    found = stats.summarize(tfds.open_tfds(provisional, "train"))
    if not found["width"]:
        raise UserError(f"no picture of {config.data.dir or config.data.dataset} can be read")
    return int(np.median(found["height"])), int(np.median(found["width"]))
