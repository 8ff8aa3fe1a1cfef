"""The JSON metadata of a checkpoint: format, config, step, attempt, score, checksums and a digest."""

import json
import math
from typing import Any

import jax
import ml_collections
from etils import epath

from biggan_jax import config as configs
from biggan_jax.checkpoint import checksums
from biggan_jax.runtime import numerics
from biggan_jax.types import UserError

FORMAT = 3
WITHOUT_CHECKSUMS = 2  # The previous format: only the config and the version of JAX.
_FILE = "config/metadata"  # Item, and Orbax's name for its file.

Metadata = dict[str, Any]


class CorruptionError(Exception):
    """The checkpoint is corrupted; the message names the item and fits in brackets."""


def create(
    config: ml_collections.ConfigDict,
    *,
    step: int,
    attempt: int,
    score: float | None,
    sums: dict[str, dict[str, str]],
    data: str = "",
) -> Metadata:
    """Return a checkpoint's metadata. sums: {item: {array: checksum}} from checksums.of_arrays. data: the digest of the data set."""
    metadata = {
        "format": FORMAT,
        "config": json.loads(configs.to_json(config)),
        "jax": jax.__version__,
        "step": step,
        "attempt": attempt,
        "numerics": numerics.recorded(),
        "score": score if score is not None and math.isfinite(score) else None,
        "checksums": sums,
    } | ({"data": data} if data else {})
    return metadata | {"digest": checksums.of_json(metadata)}


def read(step_path: epath.Path) -> Metadata:
    """Read what `create` returned; fill in the defaults for format 2.

    Raises UserError if the format is not supported, CorruptionError if the metadata are corrupted, and errors of the file system.
    """
    corrupted = CorruptionError(f"{_FILE} is not what was saved")
    try:
        metadata = json.loads((step_path / _FILE).read_text())
    except ValueError as error:
        raise corrupted from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("checksums", {}), dict):
        raise corrupted
    digest, written = metadata.pop("digest", None), metadata.get("format")
    if digest not in (None, checksums.of_json(metadata)):
        raise corrupted
    if written == WITHOUT_CHECKSUMS:
        return {"step": int(step_path.name), "attempt": 0, "score": None, "checksums": {}} | metadata
    if isinstance(written, int) and written != FORMAT:
        old = "which this version no longer reads; resume with version 0.1.0 of biggan_jax, which wrote it, or train again"
        new = f"newer than the {FORMAT} that this version reads; update biggan_jax"
        raise UserError(f"the checkpoint {step_path} has format {written}, {old if written < FORMAT else new}")
    if written != FORMAT or digest is None:
        raise corrupted
    return metadata


def other_types(metadata: Metadata, item: str, like) -> dict[str, tuple[str, str]]:
    """Return {array: (type saved, type in `like`)} of those that differ, such as ("float64[3,4]", "float32[3,4]")."""
    here = {name: checksums.type_of(x) for name, x in checksums.named_arrays(like).items()}
    saved = {name: said.partition(" ")[0] for name, said in metadata["checksums"].get(item, {}).items()}
    return {name: (saved[name], kind) for name, kind in here.items() if name in saved and saved[name] != kind}


def verify(metadata: Metadata, item: str, tree, *, complete: bool) -> None:
    """Raise CorruptionError, which names the first array that differs from its checksum or, if `complete`, is missing."""
    if metadata["format"] == WITHOUT_CHECKSUMS:
        return
    saved, found = metadata["checksums"].get(item, {}), checksums.of_arrays(tree)
    wrong = [name for name in sorted(found) if saved.get(name) != found[name]]
    wrong += [name for name in sorted(saved) if complete and name not in found]
    if wrong:
        others = len(wrong) - 1
        more = f" and {others} more array{'s' * (others > 1)} are" if others else " is"
        raise CorruptionError(f"{item}: {wrong[0]}{more} not what was saved")
