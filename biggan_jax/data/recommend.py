"""Describe a prepared set for its user: its classes, and a command that trains on it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from biggan_jax.config import own_data
from biggan_jax.data import forms
from biggan_jax.data.labelled import ONE_CLASS
from biggan_jax.types import UserError


def named(classes: Sequence[str], most: int = 20) -> str:
    """Return "id = name" of the first classes, or that there are none."""
    if list(classes) == [ONE_CLASS]:
        return "none; the set is unlabelled"
    text = ", ".join(f"{i} = {name}" for i, name in enumerate(classes[:most]))
    return text if len(classes) <= most else f"{text}, ...; all {len(classes):,} are in label.labels.txt of the set"


PRESETS = {
    (32, 40_000): "biggan_cifar10",
    (64, own_data.LARGE): "biggan_imagenet64",
    (128, own_data.LARGE): "biggan_imagenet128",
    (256, own_data.LARGE): "biggan_imagenet256",
    (512, own_data.LARGE): "biggan_imagenet512",
    (1024, 0): "modern/progan_celebahq1024",
}
"""Presets to train with, by resolution and least number of pictures. Other sets have --config=auto. BigGAN's paper has no
networks above 512 pixels; ProGAN's has."""


def training(
    out: epath.Path,
    dataset: str,
    classes: int,
    found: Mapping[str, Any],
    form: forms.Form = forms.Form(),  # noqa: B008  Frozen.
    *,
    resize: str,
    kind: str = "",
) -> str:
    """Return `to train: COMMAND`, after the reason if the command leaves classes out; or a sentence that says why none trains.

    Sets as large as those of the paper have its presets, vectors and small pictures that are not RGB dense networks; all others
    have --config=auto. found: the summary of the set. resize: the filter of its pictures. kind: of the input, as --from has it.
    """
    shape: tuple[int, ...] = form.shape if form.size or form.vector else (*_median_size(found), form.channels or 3)
    square = len(shape) == 3 and shape[2] == 3 and not form.condition and (not form.size or shape[0] == shape[1])
    changes = {"data.name": "tfds", "data.dataset": dataset, "data.dir": str(out), "data.resize": resize}
    if form.frames:
        return _of_clips(out, form, changes)
    if kind in DOMAINS:
        return _translation(out, shape, form, changes, DOMAINS[kind])
    if found.get("captions", {}).get("different") == 1:
        return "no preset fits: every picture has the same caption, so nothing can be learnt of them"
    if kind == "captions":
        return _text_to_image(out, shape, form, changes)
    height, width, channels = shape if len(shape) == 3 else (1, 1, 1)
    facts = own_data.Facts(
        found["images"], classes, (height, width, channels), bool(form.size), form.condition, where=str(out)
    )
    _, used, why = next(own_data.conditioning(facts))
    reason = f"num_classes=0: {why}; " if not used and not form.condition else ""
    changes |= {"model.num_classes": str(used)}
    large = {size: name for (size, least), name in PRESETS.items() if found["images"] >= least}
    preset = large.get(shape[0] if form.size else own_data.WHOLE_FILES, "") if square else ""
    if preset == PRESETS[1024, 0] and used:
        changes |= {"condition.d": "ac", "condition.labels": "real"}
    if not square and (form.vector or max(shape[:2]) < min(own_data.OTHER_HEIGHTS)):
        preset = f"classic/{'cgan' if used or form.condition else 'gan'}_mnist"
        changes |= {"model.image_shape": str(shape).replace(" ", "")}
        changes |= {"model.condition_dim": str(form.condition)} if form.condition else {}
    if not preset:
        try:
            chosen, _ = own_data.choose_for(own_data.template(), facts, devices=1, platform="cpu")
        except UserError as error:
            return f"no preset fits: {error}"
        preset, changes = "auto", {"data.dir": str(out), "model.num_classes": str(chosen.model.num_classes)}
    return f"{reason}to train: {_command(preset, out, changes)}"


DOMAINS = {"pairs": "pix2pix", "edges": "pix2pix", "unpaired": "cyclegan"}
"""The family that is recommended for pictures of two domains."""


def _translation(
    out: epath.Path, shape: tuple[int, ...], form: forms.Form, changes: dict[str, str], family: str
) -> str:
    """Return `to train: COMMAND` for pictures of two domains: by the small preset up to 64 pixels."""
    height, width, channels = shape
    if form.first:
        changes |= {"model.input_channels": str(form.first)}
        channels -= form.first
    else:
        changes |= {"model.input_channels": str(channels)}
    if not form.size:  # Whole files: the paper's size, or the largest multiple of 4 below.
        height = width = max(4, min(256, height, width) // 4 * 4)
    changes |= {"model.image_shape": f"({height},{width},{channels})"}
    preset = f"classic/{family}{'32' if max(height, width) <= 64 else ''}"
    if height % 4 or width % 4:
        return f"no preset fits: sides must be multiples of 4, and these are {height} x {width}; use another --size"
    return f"to train: {_command(preset, out, _filled(changes))}"


def _of_clips(out: epath.Path, form: forms.Form, changes: dict[str, str]) -> str:
    """Return `to train: COMMAND` for clips: by the narrow preset below 64 pixels."""
    from biggan_jax.models.vgan import shape_of  # Of all kinds, only this one needs networks.

    tall, width, channels = form.shape
    shape = (tall // form.frames, width, channels)
    try:
        shape_of(shape, form.frames)
    except UserError as error:
        return f"no preset fits: {error}"
    changes |= {"model.image_shape": str(shape).replace(" ", ""), "model.frames": str(form.frames)}
    preset = f"classic/{'vgan64' if min(shape[:2]) >= 64 else 'vgan_digits'}"
    return f"to train: {_command(preset, out, _filled(changes))}"


def _text_to_image(out: epath.Path, shape: tuple[int, ...], form: forms.Form, changes: dict[str, str]) -> str:
    """Return `to train: COMMAND` for pictures with captions: by the narrow preset below 64 pixels."""
    height, width, channels = shape
    if not form.size:  # Whole files: the largest size of a preset below.
        height = width = 64 if min(height, width) >= 64 else 32
    if height != width or height & (height - 1) or height < 8:
        what = f"images of 8, 16, 32, 64, ... pixels are made, and these are {height} x {width}"
        return f"no preset fits: {what}; use another --size, such as --size=64"
    changes |= {"model.image_shape": f"({height},{width},{channels})", "model.condition_dim": str(form.condition)}
    narrow = height < 64 and not form.condition  # Its keys of the text encoder have no effect on embeddings.
    preset = f"classic/text_to_image{32 if narrow else 64}"
    return f"to train: {_command(preset, out, _filled(changes))}"


def _filled(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that have a value."""
    return {key: value for key, value in changes.items() if value}


def _command(preset: str, out: epath.Path, changes: Mapping[str, str]) -> str:
    command = ["python", "-m", "biggan_jax.main", f"--config={preset}", f"--workdir=runs/{out.name}"]
    return shlex.join([*command, *(f"--config.{key}={value}" for key, value in changes.items())])


def _median_size(found: Mapping[str, Any]) -> tuple[int, int]:
    """Return the median height and width of a summary; 128, as trained by default, where it has none."""
    spreads = (found.get("height"), found.get("width"))
    height, width = (spread[1] if spread else own_data.WHOLE_FILES for spread in spreads)
    return height, width
