"""JAX's process-wide settings that decide values: random keys, float64, the precision of products."""

import logging
from typing import Any

import jax

from biggan_jax.errors import UserError

logger = logging.getLogger(__name__)

PINNED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}
"""Settings with which this package computes. With others, the same seed gives other numbers, arrays have other types, or JAX
raises errors."""

RECORDED = ("jax_enable_x64", "jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")
"""Settings that a checkpoint records: a run resumes only with those that it began with."""

_SAME_PRECISION = {None: "default", "fastest": "default", "bfloat16": "default", "tensorfloat32": "high"}
_SAME_PRECISION |= {"bfloat16_3x": "high", "float32": "highest"}


def pin() -> None:
    """Give all of PINNED their value in this process, and log those that had another. For commands, before any work."""
    for name, (value, pinned) in _unpinned().items():
        jax.config.update(name, pinned)
        logger.warning("%s=%s has no effect: this package always computes with %s", name.upper(), value, pinned)


def check() -> None:
    """Raise UserError if a setting of PINNED has another value, as it may in a notebook or another program."""
    for name, (value, pinned) in _unpinned().items():
        why = f"{name} is {value!r}, but images, weights and random numbers are defined with {pinned!r}"
        raise UserError(f"{why}; call jax.config.update({name!r}, {pinned!r}) first")


def recorded() -> dict[str, Any]:
    """Return {name: value} of RECORDED, as they are in this process. Precisions that are the same have one name."""
    found = {name: getattr(jax.config, name) for name in RECORDED if hasattr(jax.config, name)}
    precision = found["jax_default_matmul_precision"]
    return found | {"jax_default_matmul_precision": _SAME_PRECISION.get(precision, precision)}


def check_recorded(saved: dict[str, Any], where: str) -> None:
    """Raise UserError, which names it, if a setting differs from the one that a run began with. where: names the run."""
    for name, value in recorded().items():
        if name in saved and saved[name] != value:
            began = f"{where} was trained with {name}={saved[name]}, but this process has {value}"
            raise UserError(
                f"{began}; resume it with {name.upper()}={saved[name]}, or start a new run in another folder"
            )


def _unpinned() -> dict[str, tuple[Any, Any]]:
    """Return {name: (value, pinned value)} of settings that have another value."""
    values = {name: getattr(jax.config, name, pinned) for name, pinned in PINNED.items()}  # Not all versions have all.
    return {name: (value, PINNED[name]) for name, value in values.items() if value != PINNED[name]}
