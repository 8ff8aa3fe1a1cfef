"""Owns the JSON beside a checkpoint's arrays: format, config, step, attempt, score, checksums, and a digest of all these.

It must not know how arrays are stored.
"""

import json
import math
from typing import Any

import jax
import ml_collections
from etils import epath

from biggan_jax import config as configs
from biggan_jax.checkpoint import checksums
from biggan_jax.types import UserError

FORMAT = 3
WITHOUT_CHECKSUMS = 2
"""The format before: config and jax's version alone."""

ITEM = "config"
_FILE = "metadata"  # Orbax's name for it, in the item's folder.

Metadata = dict[str, Any]


class DamageError(Exception):
    """What is read is not what was saved; the text says what, to go in brackets."""


def describe(
    config: ml_collections.ConfigDict, *, step: int, attempt: int, score: float | None, sums: dict[str, dict[str, str]]
) -> Metadata:
    """sums: {item: {array: checksum}}, of checksums.of_arrays."""
    described = {
        "format": FORMAT,
        "config": json.loads(configs.to_json(config)),
        "jax": jax.__version__,
        "step": step,
        "attempt": attempt,
        "score": score if score is not None and math.isfinite(score) else None,
        "checksums": sums,
    }
    return described | {"digest": checksums.of_json(described)}


def read(step_path: epath.Path) -> Metadata:
    """What `describe` returned, or its predecessor of format 2.

    Raises UserError for other formats; DamageError, or whatever reading raises, if it is damaged.
    """
    try:
        described = json.loads((step_path / ITEM / _FILE).read_text())
    except ValueError as error:
        raise DamageError(f"{ITEM}/{_FILE} is not what was saved") from error
    if not isinstance(described, dict) or not isinstance(described.get("checksums", {}), dict):
        raise DamageError(f"{ITEM}/{_FILE} is not what was saved")
    digest = described.pop("digest", None)
    if digest is not None and digest != checksums.of_json(described):
        raise DamageError(f"{ITEM}/{_FILE} is not what was saved")
    written = described.get("format")
    if written == WITHOUT_CHECKSUMS:
        return {"step": int(step_path.name), "attempt": 0, "score": None, "checksums": {}} | described
    if isinstance(written, int) and written < WITHOUT_CHECKSUMS:
        raise UserError(
            f"the checkpoint {step_path} has format {written}, which this version no longer reads; "
            "go on with the version 0.1.0 of biggan_jax that wrote it, or train anew"
        )
    if isinstance(written, int) and written > FORMAT:
        raise UserError(
            f"the checkpoint {step_path} has format {written}, newer than the {FORMAT} that this version reads; "
            "update biggan_jax"
        )
    if written != FORMAT or digest is None:
        raise DamageError(f"{ITEM}/{_FILE} is not what was saved")
    return described


def check(described: Metadata, item: str, tree, *, all_of_it: bool) -> None:
    """Raises DamageError, naming the first, if arrays of the item are not what was saved; or, with all_of_it, are not there."""
    if described["format"] == WITHOUT_CHECKSUMS:
        return
    saved, found = described["checksums"].get(item, {}), checksums.of_arrays(tree)
    wrong = [name for name in sorted(found) if saved.get(name) != found[name]]
    wrong += [name for name in sorted(saved) if all_of_it and name not in found]
    if wrong:
        more = f" and {len(wrong) - 1} more arrays are" if len(wrong) > 1 else " is"
        raise DamageError(f"{item}: {wrong[0]}{more} not what was saved")
