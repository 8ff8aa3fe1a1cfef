"""Find values in a training state that are not finite, or absurd."""

import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.checkpoint.checksums import is_on_host, named_arrays

NAMED = 3  # How many arrays are named; the others are counted.


class Magnitudes(NamedTuple):
    """names: the dotted paths of a state's arrays of floats; largest: float32 [names], infinity if a value is not finite."""

    names: tuple[str, ...]
    largest: jax.Array | np.ndarray

    def by_name(self) -> dict[str, float]:
        """Fetch them."""
        return dict(zip(self.names, map(float, jax.device_get(self.largest)), strict=True))


def magnitudes(state, mesh: Mesh | None = None) -> Magnitudes:
    """Return the largest absolute value of each array of floats: one reduction for each, and one array to fetch."""
    named = {name: x for name, x in named_arrays(state).items() if jnp.issubdtype(x.dtype, jnp.floating)}
    if not named:
        return Magnitudes((), np.zeros(0, np.float32))
    if all(map(is_on_host, named.values())):  # NumPy compiles nothing.
        return Magnitudes(tuple(named), np.array([_on_host(np.asarray(x)) for x in named.values()], np.float32))
    return Magnitudes(tuple(named), _on_devices(mesh)(list(named.values())))


def not_finite(largest: Mapping[str, float]) -> list[str]:
    """Return the names of arrays with a value that is not finite."""
    return [name for name, value in largest.items() if not np.isfinite(value)]


def listed(names: Iterable[str]) -> str:
    """Return "a, b, c and 2 more"."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def signals_of(largest: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the signals of a state's magnitudes, and the array that each is of.

    average_excess: the largest value of an averaged array, divided by that of the array it averages, or by 1 if that is smaller.
    moments: the largest value of networks' variables, such as batch statistics.
    """
    found: dict[str, dict[str, float]] = {"average_excess": {}, "moments": {}}
    for name, value in largest.items():
        part, _, rest = name.partition(".")
        network, _, inside = rest.partition(".")
        if part == "averages":
            found["average_excess"][name] = value / max(largest.get(f"networks.{network}.params.{inside}", 0.0), 1.0)
        elif part == "networks" and inside.startswith("variables."):
            found["moments"][name] = value
    where = {signal: max(values, key=lambda name: values[name]) for signal, values in found.items() if values}
    return {signal: found[signal][name] for signal, name in where.items()}, where


@functools.cache
def _on_devices(mesh: Mesh | None):
    largest = lambda x: jnp.max(jnp.where(jnp.isfinite(x), jnp.abs(x), jnp.inf), initial=0).astype(jnp.float32)
    return jax.jit(
        lambda arrays: jnp.stack([largest(x) for x in arrays]), out_shardings=mesh and sharding.replicated(mesh)
    )


def _on_host(x: np.ndarray) -> np.float32:
    x = np.abs(x.astype(np.float32, copy=False))
    return np.float32(x.max(initial=0)) if np.isfinite(x).all() else np.float32(np.inf)
