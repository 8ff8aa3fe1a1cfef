"""Owns checksums: of an array, the same number however it is laid out over devices, another one if a bit of it is changed.

It must not know files.
"""

import hashlib
import json
import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def of_arrays(tree) -> dict[str, str]:
    """{dotted name: "float32[3,4] 1a2b3c4d"} of a tree of arrays, on the host or in parts over the devices of all hosts.

    The digits are the sum, modulo 2**32, of what each of the array's words and its position are mixed to. To mix a word is
    to permute all words, so any change of one word changes the sum for certain, and any other all but once in 2**32 times.
    """
    named = named_arrays(tree)
    sums = jax.device_get({name: _where_it_is(x) for name, x in named.items()})
    return {name: f"{x.dtype}{list(np.shape(x))} {int(sums[name]):08x}".replace(", ", ",") for name, x in named.items()}


def of_json(tree: Any) -> str:
    """A digest of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def named_arrays(tree) -> dict[str, Any]:
    """{dotted name: array} of a tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _where_it_is(x):
    """The sum, taken on the devices that hold the array, so that four bytes of it come to the host."""
    # A CPU's memory is the host's: there, compiling a program for each shape would be all that it costs.
    on_host = not isinstance(x, jax.Array) or (x.is_fully_addressable and {d.platform for d in x.devices()} == {"cpu"})
    # One after the other: on the CPU devices of several hosts, collectives in flight wait for each other.
    return _on_host(np.asarray(x)) if on_host else jax.block_until_ready(_on_devices(x))


@jax.jit
def _on_devices(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.uint8) if x.dtype == bool else x
    return _sum(jnp.atleast_1d(jax.lax.bitcast_convert_type(x, _word(x.dtype))), jnp)


def _on_host(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(np.atleast_1d(x))
    return _sum(x.view(_word(x.dtype)), np)


def _word(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"uint{8 * min(dtype.itemsize, 4)}")


def _sum(words, xp: ModuleType):
    position = xp.zeros((1,) * words.ndim, xp.uint32)
    for axis, size in enumerate(words.shape):
        stride = math.prod(words.shape[axis + 1 :]) % 2**32
        index = xp.arange(size, dtype=xp.uint32) * xp.uint32(stride)
        position = position + index.reshape([-1 if i == axis else 1 for i in range(words.ndim)])
    return xp.sum(_mix(words.astype(xp.uint32) ^ _mix(position)), dtype=xp.uint32)


def _mix(x):
    """A permutation of uint32 in which each bit going in moves about half of those coming out (MurmurHash3's finalizer)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
