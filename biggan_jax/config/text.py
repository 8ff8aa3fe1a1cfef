"""Owns configs as plain data and as text: there, back, and what differs. Must not know what any key means."""

import json
from typing import Any

import ml_collections

from biggan_jax.config import strict_json
from biggan_jax.config.defaults import base


RUN_KEYS = {"seed", "num_steps", "batch_size", "model", "mesh", "regularizer", "optimizer", "ema", "augment", "data"}
"""Every stored config of a run has all of these; a config by hand has only those that differ from the defaults."""


def differences(a: dict, b: dict) -> dict[str, tuple]:
    """Which keys differ between two configs, as {dotted key: (value in a, value in b)}; None where one lacks it."""
    a, b = (flatten(json.loads(to_json(c))) for c in (a, b))
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Nested keys to dotted ones.

    >>> flatten({"seed": 0, "model": {"ch": 96, "depth": 2}})
    {'seed': 0, 'model.ch': 96, 'model.depth': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def to_json(config: ml_collections.ConfigDict | dict) -> str:
    """The resolved config as JSON text; tuples become lists."""
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    return json.dumps(tree, indent=2, sort_keys=True)


def from_json(text: str) -> ml_collections.ConfigDict:
    """The config that `to_json` wrote, upon today's defaults: keys that it lacks have their default. Raises UserError."""
    return from_plain(strict_json.parse(text, "the stored config"), "the stored config")


def from_plain(given: Any, where: str) -> ml_collections.ConfigDict:
    """The config of plain data, nested or by dotted keys, upon today's defaults, whose types are those allowed.

    Raises UserError, which calls it `where`, for a key that is not known, or a value of another type.
    """
    config = base()
    found = strict_json.merge_into(flatten(config.to_dict()), given, where)
    if given.keys() >= RUN_KEYS:
        # A run from before this key keeps its order of images when it is resumed.
        found.setdefault("data.order", "feistel")
    for key, value in found.items():
        _set(config, key, value)
    return config


def _set(config: ml_collections.ConfigDict, key: str, value) -> None:
    *path, last = key.split(".")
    for name in path:
        config = config[name]
    config[last] = value
