"""Standing statistics that are kept in the cache folder, so that those of the same weights need not be measured again."""

import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable

import jax
import ml_collections
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.evaluation.cache import cached, hash_of_tree
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.runtime import compilation_cache, numerics
from biggan_jax.sampling import generate
from biggan_jax.types import Params

PACKAGE = pathlib.Path(__file__).parent.parent
CODE = ".", "models", "layers", "sampling"
"""Folders whose code determines the statistics."""


def standing_statistics(
    gan: Family,
    config: ml_collections.ConfigDict,
    weights: Params,
    seed: int,
    *,
    passes: int,
    batch_size: int = generate.STANDING_BATCH,
    show: bool = True,
) -> Callable[[Truncation | None], Params]:
    """Return generate.standing_statistics as a function of the truncation, measured once for all that determines them.

    show: shows the progress.
    """
    content = f"{facts(gan, config)} {hash_of_tree(weights)} {seed}"

    def of(truncation: Truncation | None) -> Params:
        def measure() -> dict:
            found = generate.standing_statistics(
                gan, weights, seed, truncation=truncation, passes=passes, batch_size=batch_size, show=show
            )
            return flatten_dict(jax.device_get(found), sep="/")

        return unflatten_dict(cached("standing", f"{content} {truncation} {passes} x {batch_size}", measure), sep="/")

    return of


def facts(gan: Family, config: ml_collections.ConfigDict) -> str:
    """Return what determines the statistics beside weights and settings: networks, code, devices, versions."""
    code = hashlib.sha256()
    for file in sorted(file for folder in CODE for file in (PACKAGE / folder).glob("*.py")):
        code.update(file.read_bytes())
    device = jax.devices()[0]
    # Home folders, and so the cache, are shared by unlike processors.
    processor = compilation_cache.processor() if device.platform == "cpu" else ""
    found = {
        "model": config.model.to_dict(),
        "dtype": config.dtype,
        "code": code.hexdigest(),
        "devices": [gan.mesh.size if gan.mesh else 1, device.device_kind, device.client.platform_version],
        "processor": processor,
        "versions": [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")],
        "numerics": [jax.config.values[name] for name in numerics.RECORDED] + [os.environ.get("XLA_FLAGS")],
    }
    return json.dumps(found, sort_keys=True, default=str)
