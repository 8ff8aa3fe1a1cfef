"""Read the variables of a TensorFlow checkpoint or SavedModel, without TensorFlow.

`NAME.index` is a sorted table in LevelDB's format: names to BundleEntryProto, each the type, shape and place of an array in one
of the files `NAME.data-00000-of-00001`, ... (tensorflow/core/protobuf/tensor_bundle.proto).
"""

import math
import struct
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pyarrow
from etils import epath

from biggan_jax.convert import protobuf
from biggan_jax.convert.tables import Arrays
from biggan_jax.types import UserError

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TRAILER = 5  # Behind each block: how it is compressed, and a checksum.
PLAIN, SNAPPY = 0, 1

DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 14: ml_dtypes.bfloat16, 19: np.float16}
"""Types of arrays by their numbers in TensorFlow's DataType. Others, such as text, are not read."""

DTYPE, SHAPE, SHARD, OFFSET, SIZE, SLICES = 1, 2, 3, 4, 5, 7
"""Fields of BundleEntryProto."""


def read(prefix: epath.Path) -> Arrays:
    """Return the arrays of the checkpoint PREFIX.index by name. Raises UserError if a file is missing or corrupted."""
    index = prefix.parent / f"{prefix.name}.index"
    try:
        entries = dict(table(index.read_bytes()))
        header = protobuf.fields(entries.pop(b"", b""))
        shards = header.get(1, [1])[0]
        if not 0 < shards < 100_000 or header.get(2, [0])[0]:
            raise ValueError("its header is not that of a checkpoint of a little-endian machine")
        data: dict[int, np.memmap | bytes] = {}
        arrays = {}
        for name, value in entries.items():
            entry = protobuf.fields(value)
            dtype = DTYPES.get(entry.get(DTYPE, [0])[0])
            if dtype is None:
                continue
            shard = entry.get(SHARD, [0])[0]
            if shard not in data:
                data[shard] = _bytes_of(prefix.parent / f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
            arrays[name.decode()] = _array(entry, np.dtype(dtype), data[shard], name.decode())
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: a checkpoint is {index.name} and its files of data") from error
    except (ValueError, IndexError, struct.error, pyarrow.ArrowException) as error:
        raise UserError(f"{index} is no checkpoint of TensorFlow, or is corrupted: {error}") from error
    if not arrays:
        raise UserError(f"{index} has no arrays of numbers")
    return arrays


def _bytes_of(path: epath.Path) -> np.memmap | bytes:
    """The bytes of a file; a local one is mapped, since it may be larger than the arrays that are wanted."""
    if "://" in str(path):
        return path.read_bytes()
    return np.memmap(path, np.uint8, mode="r")


def _array(entry: protobuf.Fields, dtype: np.dtype, data: np.memmap | bytes, name: str) -> np.ndarray:
    if SLICES in entry:
        raise ValueError(f"{name} is stored in slices, which are not read")
    shape = shape_of(entry.get(SHAPE, [b""])[0])
    offset, size = entry.get(OFFSET, [0])[0], entry.get(SIZE, [0])[0]
    if size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {size} bytes, which do not fit its shape {list(shape)}")
    if offset + size > len(data):
        raise ValueError(f"{name} ends behind its file of data, which is truncated")
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)


def shape_of(message: bytes | memoryview) -> tuple[int, ...]:
    """Return the shape in a TensorShapeProto."""
    sizes = [protobuf.fields(dim).get(1, [0]) for dim in protobuf.fields(message).get(2, [])]
    shape = tuple(protobuf.integers(size)[0] for size in sizes)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {list(shape)} is unknown")
    return shape


def table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table in LevelDB's format. Raises ValueError for other bytes."""
    view = memoryview(data)
    if len(view) < FOOTER or struct.unpack("<Q", view[-8:])[0] != MAGIC:
        raise ValueError("it does not end like a table of LevelDB")
    _, _, start = _handle(view, len(view) - FOOTER)
    for _, handle in _block(view, *_handle(view, start)[:2]):
        yield from _block(view, *_handle(memoryview(handle), 0)[:2])


def _handle(view: memoryview, start: int) -> tuple[int, int, int]:
    """Return (offset, size) of a block, and where the handle that says so ends."""
    offset, start = protobuf.varint(view, start)
    size, start = protobuf.varint(view, start)
    return offset, size, start


def _block(view: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size + TRAILER > len(view):
        raise ValueError("a block ends behind the file")
    block, compression = view[offset : offset + size], view[offset + size]
    if compression == SNAPPY:
        length, _ = protobuf.varint(block, 0)
        if length > 2**30:
            raise ValueError("a block is larger than 1 GiB")
        try:
            block = memoryview(pyarrow.decompress(block, length, codec="snappy", asbytes=True))
        except OSError as error:  # Of pyarrow, for corrupted data.
            raise ValueError(f"a block is corrupted: {error}") from error
    elif compression != PLAIN:
        raise ValueError(f"a block has the unknown compression {compression}")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    start, key = 0, b""
    while start < end:
        # A key repeats the first bytes of the one before it.
        shared, start = protobuf.varint(block, start)
        more, start = protobuf.varint(block, start)
        length, start = protobuf.varint(block, start)
        if shared > len(key) or start + more + length > end:
            raise ValueError("an entry of a block is corrupted")
        key = key[:shared] + bytes(block[start : start + more])
        start += more + length
        yield key, bytes(block[start - length : start])
