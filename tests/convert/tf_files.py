"""Write small checkpoints and SavedModels in TensorFlow's formats, without TensorFlow."""

import struct

import numpy as np
import pyarrow

FLOAT32 = 1
BLOCK = 700  # Bytes: small files have several blocks, too.


def varint(number):
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number, value):
    """One field of a protocol buffer: an int as varint, bytes or text by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(*pairs):
    return b"".join(field(number, value) for number, value in pairs)


def shape(sizes):
    return b"".join(field(2, field(1, size)) for size in sizes)


def block(entries):
    """A block of a table, whose keys leave out what they share with the key before."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def table(entries, *, snappy=False):
    """A sorted table in LevelDB's format."""
    out, index, pending = b"", [], []

    def write(content):
        nonlocal out
        place = varint(len(out)) + varint(
            len(stored := pyarrow.compress(content, "snappy", asbytes=True) if snappy else content)
        )
        out += stored + bytes([snappy]) + bytes(4)
        return place

    entries = sorted(entries.items())
    for i, entry in enumerate(entries):
        pending.append(entry)
        if sum(len(k) + len(v) for k, v in pending) > BLOCK or i == len(entries) - 1:
            index.append((entry[0], write(block(pending))))
            pending = []
    footer = write(block([])) + write(block(index))
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def checkpoint(prefix, arrays, *, shards=2, snappy=False):
    """Write float32 arrays as PREFIX.index and PREFIX.data-..., turn by turn into `shards` files."""
    data, entries = [b""] * shards, {b"": message((1, shards), (3, field(1, 1)))}
    for i, (name, array) in enumerate(arrays.items()):
        content, shard = np.asarray(array, np.float32).tobytes(), i % shards
        pairs = (1, FLOAT32), (2, shape(np.shape(array))), (3, shard), (4, len(data[shard])), (5, len(content))
        entries[name.encode()] = message(*pairs)
        data[shard] += content
    entries[b"save_counter"] = message((1, 7), (2, b""), (5, 3))  # Text, which is no array.
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, snappy=snappy))


def node(name, operation, inputs=(), **attributes):
    pairs = [(1, name), (2, operation), *((3, each) for each in inputs)]
    return message(*pairs, *((5, message((1, key), (2, value))) for key, value in attributes.items()))


def constant(name, array):
    array = np.asarray(array, np.float32)
    tensor = message((1, FLOAT32), (2, shape(array.shape)), (4, array.tobytes()))
    return node(name, "Const", value=field(8, tensor), dtype=field(6, FLOAT32))


def saved_model(path, nodes):
    path.write_bytes(message((1, 1), (2, field(2, message(*((1, each) for each in nodes))))))
