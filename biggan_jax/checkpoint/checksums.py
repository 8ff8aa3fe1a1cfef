"""Checksums of arrays that do not depend on their sharding."""

import hashlib
import json
import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def of_arrays(tree) -> dict[str, str]:
    """Return {dotted name: "float32[3,4] 1a2b3c4d"} for a tree of arrays, on the host or sharded over all hosts.

    The checksum is the sum, modulo 2**32, of a hash of each 32-bit word with its position. The hash is a permutation of all
    words: a change of one word always changes the sum, any other change does except once in 2**32 times.
    """
    named = named_arrays(tree)
    sums = jax.device_get({name: _checksum(x) for name, x in named.items()})
    return {name: f"{type_of(x)} {int(sums[name]):08x}" for name, x in named.items()}


def type_of(x) -> str:
    """Return an array's type and shape, such as "float32[3,4]"."""
    return f"{x.dtype}{list(np.shape(x))}".replace(", ", ",")


def of_json(tree: Any) -> str:
    """Return the SHA-256 digest of plain data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def named_arrays(tree) -> dict[str, Any]:
    """Return {dotted name: array} for a tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _checksum(x):
    """Compute the sum on the devices that hold the array, so that only four bytes are copied to the host."""
    # On the host, NumPy avoids compiling a program for each shape.
    # Wait for each sum: on the CPU devices of several hosts, concurrent collectives deadlock.
    return _on_host(np.asarray(x)) if is_on_host(x) else jax.block_until_ready(_on_devices(x))


def is_on_host(x) -> bool:
    """Return whether NumPy can read the array without a copy between devices: a CPU device shares the host's memory."""
    return not isinstance(x, jax.Array) or (x.is_fully_addressable and {d.platform for d in x.devices()} == {"cpu"})


@jax.jit
def _on_devices(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.uint8) if x.dtype == bool else x
    return _sum(jnp.atleast_1d(jax.lax.bitcast_convert_type(x, _word(x.dtype))), jnp)


def _on_host(x: np.ndarray) -> np.uint32:
    """Compute `_sum` block by block, in the processor's cache."""
    x = np.ascontiguousarray(np.atleast_1d(x))
    words, total = x.view(_word(x.dtype)).reshape(-1), 0
    mixed, shifted = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    with np.errstate(over="ignore"):
        for start in range(0, words.size, BLOCK):
            block = words[start : start + BLOCK]
            a, b = mixed[: block.size], shifted[: block.size]
            # The position of a word is its number in the flat array.
            np.add(_IN_BLOCK[: block.size], np.uint32(start % 2**32), out=a)
            _mix_in_place(a, b)
            np.bitwise_xor(a, block, out=a, casting="unsafe")
            _mix_in_place(a, b)
            total += int(a.sum(dtype=np.uint32))
    return np.uint32(total % 2**32)


BLOCK = 2**14  # Words.
_IN_BLOCK = np.arange(BLOCK, dtype=np.uint32)


def _mix_in_place(x: np.ndarray, free: np.ndarray) -> None:
    """Compute `_mix` of x in x. free: memory of its size."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None)):
        np.right_shift(x, np.uint32(shift), out=free)
        np.bitwise_xor(x, free, out=x)
        if factor is not None:
            np.multiply(x, np.uint32(factor), out=x)


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
    """Permute uint32 words; each input bit flips about half of the output bits (MurmurHash3's finalizer)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
