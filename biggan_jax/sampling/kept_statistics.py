"""Standing statistics on disk, so that a command need not measure those of the same weights again.

They are arrays in $XDG_CACHE_HOME/biggan_jax/standing, one file for all that determines them: weights, networks, settings, devices
and versions. The newest FILES stay.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable

import flax.traverse_util
import jax
import ml_collections
import numpy as np

from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.runtime.files import atomic_write, cache_folder, read_npz, unique_suffix
from biggan_jax.types import Params, UserError

FILES = 64
PACKAGE = pathlib.Path(__file__).parent.parent
CODE = ".", "models", "layers", "sampling"
"""Folders whose code determines the statistics."""
NUMERICS = "jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_x64", "jax_threefry_partitionable"
"""Settings of JAX that change the values."""


def key_of(
    gan: Family,
    config: ml_collections.ConfigDict,
    weights: Params,
    seed: int,
    truncation: Truncation | None,
    passes: int,
) -> str:
    """Return a hash of all that determines the statistics."""
    device, client = jax.devices()[0], jax.devices()[0].client
    facts = {
        "model": config.model.to_dict(),
        "dtype": config.dtype,
        "settings": [seed, truncation, passes],
        "devices": [gan.mesh.size if gan.mesh else 1, device.device_kind, client.platform_version, _processor()],
        "versions": [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")],
        "numerics": [jax.config.values[name] for name in NUMERICS] + [os.environ.get("XLA_FLAGS")],
    }
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for file in sorted(file for folder in CODE for file in (PACKAGE / folder).glob("*.py")):
        found.update(file.read_bytes())
    for name, array in sorted(named_arrays(weights).items()):
        array = np.ascontiguousarray(array)
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:32]


def read_or_measure(key: str, like: Params, measure: Callable[[], Params]) -> Params:
    """Return the statistics of this key, measured if no whole file has them. like: arrays of the same names and shapes.

    Of several processes, all measure.
    """
    if jax.process_count() > 1:
        return measure()
    folder = pathlib.Path(cache_folder(local=True)) / "standing"
    path, wanted = folder / f"{key}.npz", flax.traverse_util.flatten_dict(like, sep="/")
    # A missing or damaged file is measured again.
    with contextlib.suppress(UserError, OSError):
        found = read_npz(path)
        if {name: array.shape for name, array in found.items()} == {name: x.shape for name, x in wanted.items()}:
            os.utime(path)
            return flax.traverse_util.unflatten_dict(found, sep="/")
    measured = measure()
    with contextlib.suppress(OSError):
        _write(path, flax.traverse_util.flatten_dict(jax.device_get(measured), sep="/"))
    return measured


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a file, and remove all but the newest FILES of its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, unique_suffix()) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
    for old in sorted(path.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime)[:-FILES]:
        old.unlink(missing_ok=True)


def _processor() -> str:
    """Return the name of the CPU, whose instructions change how sums round, "" where the system does not say."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""
