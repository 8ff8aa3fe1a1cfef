"""Read and write .safetensors: arrays by name after a JSON header, without code.

The format is that of https://huggingface.co/docs/safetensors: the header's length as uint64, the header, the arrays' bytes.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from biggan_jax.types import UserError

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {
        "BOOL": np.bool_,
        "U8": np.uint8,
        "I8": np.int8,
        "U16": np.uint16,
        "I16": np.int16,
        "U32": np.uint32,
        "I32": np.int32,
        "U64": np.uint64,
        "I64": np.int64,
        "F16": np.float16,
        "BF16": jnp.bfloat16,
        "F32": np.float32,
        "F64": np.float64,
    }.items()
}
"""The format's names of types."""

METADATA = "__metadata__"  # The header's entry of strings by name.
MAX_HEADER = 100_000_000  # Bytes; the format's own limit.


def to_bytes(arrays: Mapping[str, Any], about: Mapping[str, str]) -> bytes:
    """Return the file of arrays, by name, and of the strings `about` them. Equal arguments give equal bytes."""
    names = {kind: name for name, kind in DTYPES.items()}
    header: dict[str, Any] = {METADATA: dict(sorted(about.items()))}
    parts, end = [], 0
    # Wide types first, so that each array is aligned.
    for name, array in sorted(arrays.items(), key=lambda item: (-np.asarray(item[1]).dtype.itemsize, item[0])):
        array = np.asarray(array)
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def from_bytes(raw: bytes, where: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return (arrays by name, strings about them) of a file. Raises UserError, which calls it `where`, if it is invalid."""
    header, data = _parse(raw, where)
    about = header.pop(METADATA, {})
    _require(isinstance(about, dict) and all(isinstance(value, str) for value in about.values()), where, "its metadata")
    places = {name: _place(entry, f"the array {name!r:.80}", where) for name, entry in header.items()}
    end = 0
    for name, (_, _, begin, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        _require(begin == end, where, f"the place of the array {name!r:.80}")
        end = stop
    if end != len(data):
        what = "truncated" if end > len(data) else "longer than its header says"
        raise UserError(f"{where} is {what}: it has {len(data):,} bytes of arrays, and its header lists {end:,}")
    arrays = {
        name: np.frombuffer(data[begin:stop], kind).reshape(shape)
        for name, (kind, shape, begin, stop) in places.items()
    }
    return arrays, about


def _parse(raw: bytes, where: str) -> tuple[dict[str, Any], memoryview]:
    """Return the header and the bytes of the arrays."""
    size = struct.unpack("<Q", raw[:8])[0] if len(raw) >= 8 else 0
    if not 2 <= size <= min(MAX_HEADER, len(raw) - 8) or raw[8:9] != b"{":
        raise UserError(f"{where} is not a .safetensors file, or is truncated")
    try:
        header = json.loads(raw[8 : 8 + size], object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not a .safetensors file: its header is not JSON") from error
    return header, memoryview(raw)[8 + size :]


def _place(entry: Any, what: str, where: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Return (type, shape, begin, end) of an array."""
    fields = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (fields.get(name) for name in ("dtype", "shape", "data_offsets"))
    if isinstance(kind, str) and kind not in DTYPES:
        raise UserError(f"{where}: {what} has the type {kind!r:.20}, which is not read; {', '.join(DTYPES)} are")
    for numbers in (shape, offsets):
        whole = isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)
        _require(whole and isinstance(kind, str), where, what)
    assert isinstance(kind, str) and isinstance(shape, list) and isinstance(offsets, list)
    _require(len(offsets) == 2 and len(shape) <= 32, where, what)
    dtype, (begin, end) = DTYPES[kind], offsets
    _require(end - begin == math.prod(shape) * dtype.itemsize, where, f"the size of {what}")
    return dtype, tuple(shape), begin, end


def _require(valid: bool, where: str, what: str) -> None:
    if not valid:
        raise UserError(f"{where} is not a valid .safetensors file: {what} is wrong in its header")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
