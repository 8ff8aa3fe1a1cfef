"""Find the picture, the label and the condition among the features of a TFDS set."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data.records import CAPTIONS, Fields
from biggan_jax.runtime.text import escape
from biggan_jax.types import UserError

NO_LABEL = ("all",)  # Class names of a set without labels: one class.


class Keys(NamedTuple):
    """Names of features: of the picture, the label, and the condition, several with commas. "" where the set decides."""

    image: str = ""
    label: str = ""
    condition: str = ""


def keys_of(config: ml_collections.ConfigDict) -> Keys:
    """Return the keys data.image_key, data.label_key and data.condition_key."""
    return Keys(config.data.image_key, config.data.label_key, config.data.condition_key)


def fields_of(features: Any, where: epath.Path, keys: Keys = Keys(), *, labelled: bool = True) -> Fields:  # noqa: B008
    """Find the features that are the picture, its label, its name and its condition.

    A feature inside another has the name OUTER/INNER. labelled: whether a label is needed; without one, `label` is "" if the set
    has none. Raises UserError if a key is no such feature, or if one is needed and several could be meant.
    """
    import tensorflow_datasets as tfds

    leaves = _leaves(features)
    images = _pictures(leaves, (np.uint8,), (3, 4)) or _pictures(leaves, (np.uint8,), (1,)) or _others(leaves)
    every = {**_pictures(leaves, (np.uint8, np.uint16), None), **_others(leaves)}
    image = _chosen("pictures", "image", keys.image, images, every, where)
    classes = {name: feature for name, feature in leaves.items() if isinstance(feature, tfds.features.ClassLabel)}
    two = {name: feature for name, feature in leaves.items() if _dtype(feature) == np.bool_ and feature.shape == ()}
    label = ""
    if labelled or keys.label or len(classes) == 1 or "label" in classes:
        label = _chosen("labels", "label", keys.label, classes, classes | two, where)
    names = [name for name, f in leaves.items() if isinstance(f, tfds.features.Text) and "name" in name]
    picture = leaves[image]
    shape = None if isinstance(picture, tfds.features.Image) else tuple(picture.shape)
    # TFDS has no public attribute for a tensor's encoding.
    if shape and (None in shape or getattr(picture, "_encoding", None) != tfds.features.Encoding.BYTES):
        raise UserError(f"{where} stores pixels of shape {shape} in an encoding that is not supported; only bytes are")
    whole, dtype = picture.shape, np.dtype(picture.np_dtype).name
    channels = whole[2] if len(whole) == 3 else 0
    parts = _condition(leaves, keys.condition, where)
    return Fields(
        image,
        label,
        names[0] if names else None,
        shape,
        dtype,
        3 if channels == 4 and shape is None and dtype == "uint8" else channels,  # Alpha is composited.
        sum(length for _, length in parts),
        tuple(name for name, _ in parts),
        _several(leaves, parts),
        _is_text(leaves.get(CAPTIONS)),
    )


def class_names(features: Any, label: str) -> tuple[str, ...]:
    """Return the names of the classes of a label that `fields_of` found."""
    if not label:
        return NO_LABEL
    feature, last = _leaves(features)[label], label.rpartition("/")[2]
    return tuple(map(escape, feature.names)) if hasattr(feature, "names") else (f"not {last}", last)


def _leaves(features: Any, prefix: str = "") -> dict[str, Any]:
    import tensorflow_datasets as tfds

    found: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            found |= _leaves(feature, f"{prefix}{name}/")
        else:
            found[prefix + name] = feature
    return found


def _dtype(feature: Any) -> np.dtype | None:
    """Return the type of a feature that is one array; None for others."""
    one = isinstance(getattr(feature, "shape", None), tuple) and not isinstance(feature.np_dtype, dict)
    try:
        return np.dtype(feature.np_dtype) if one else None
    except TypeError:  # Text has a type of its own.
        return None


def _pictures(leaves: Mapping[str, Any], dtypes: tuple, channels: tuple[int, ...] | None) -> dict[str, Any]:
    fits = lambda f: _dtype(f) in dtypes and len(f.shape) == 3 and (channels is None or f.shape[-1] in channels)
    return {name: feature for name, feature in leaves.items() if fits(feature)}


def _others(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return pictures of 16 bits or more channels, and vectors, as `prepare` stores them."""
    vectors = {n: f for n, f in leaves.items() if _dtype(f) == np.float32 and len(f.shape) == 1 and n != "condition"}
    return _pictures(leaves, (np.uint8, np.uint16), None) | vectors


def _chosen(
    what: str, usual: str, key: str, found: Mapping[str, Any], possible: Iterable[str], where: epath.Path
) -> str:
    """Return the feature `key`, or the only one, or of several the one of the usual name."""
    possible = list(possible)
    if key:
        if key not in possible:
            raise UserError(
                f"data.{usual}_key={key} is not one of {where}'s features that may be {what}: {some(sorted(possible))}"
            )
        return key
    if len(found) == 1 or usual in found:
        return usual if usual in found else next(iter(found))
    also = f"; data.{usual}_key may be {some(sorted(possible))}" if possible else ""  # TFDS keeps no order.
    also += "; a model without classes (model.num_classes=0) needs none" if usual == "label" else ""
    raise UserError(f"{where} has {len(found)} features that are {what}, and one is needed{also}")


def _several(leaves: Mapping[str, Any], parts: list[tuple[str, int]]) -> int:
    """Return how many conditions each picture has, if more than one; 0 otherwise."""
    shape: tuple[int, ...] = leaves["condition"].shape if [name for name, _ in parts] == ["condition"] else ()
    return int(shape[0]) if len(shape) == 2 else 0


def _is_text(feature: Any) -> bool:
    """Return whether a feature is text, or a list of texts."""
    import tensorflow_datasets as tfds

    own = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
    return isinstance(own, tfds.features.Text)


def _condition(leaves: Mapping[str, Any], key: str, where: epath.Path) -> list[tuple[str, int]]:
    """Return the features of the condition, in order, and their lengths. A feature with others inside has all, by name."""
    if not key:
        feature = leaves.get("condition")
        return [("condition", feature.shape[-1])] if feature is not None and len(feature.shape) in (1, 2) else []
    fits = lambda f: (
        (dtype := _dtype(f)) is not None and dtype.kind in "biuf" and len(f.shape) < 2 and None not in f.shape
    )
    numbers = {name: feature for name, feature in leaves.items() if fits(feature) and not hasattr(feature, "names")}
    found: list[str] = []
    for part in (part.strip() for part in key.split(",")):
        inside = sorted(name for name in numbers if name == part or name.startswith(f"{part}/"))
        if not inside:
            raise UserError(
                f"data.condition_key={part} is not one of {where}'s features of numbers: {some(sorted(numbers))}"
            )
        found += inside
    return [(name, numbers[name].shape[0] if numbers[name].shape else 1) for name in found]
