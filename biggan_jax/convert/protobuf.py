"""Read protocol buffers without their definitions: the fields of a message by number."""

import struct
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Types of a field in the wire format of protocol buffers."""

Fields = dict[int, list[Any]]
"""Values by field number, in order: int for VARINT, FIXED32 and FIXED64, memoryview for BYTES (text, messages, arrays)."""


def varint(data: memoryview, start: int) -> tuple[int, int]:
    """Return (number, end) of the variable-length integer at `start`. Raises ValueError if it is truncated or too long."""
    number = 0
    for i in range(10):
        if start + i >= len(data):
            break
        number |= (data[start + i] & 0x7F) << (7 * i)
        if not data[start + i] & 0x80:
            return number, start + i + 1
    raise ValueError("an integer is truncated")


def fields(message: bytes | memoryview) -> Fields:
    """Return the fields of a message. Raises ValueError if it is not a message, or is truncated."""
    data, start, found = memoryview(message), 0, Fields()
    while start < len(data):
        tag, start = varint(data, start)
        number, kind = tag >> 3, tag & 7
        value: Any
        if kind == VARINT:
            value, start = varint(data, start)
        elif kind in (BYTES, FIXED32, FIXED64):
            size = {FIXED32: 4, FIXED64: 8}.get(kind, 0)
            if kind == BYTES:
                size, start = varint(data, start)
            value, start = data[start : start + size], start + size
            if start > len(data):
                raise ValueError("a message is truncated")
            value = value if kind == BYTES else struct.unpack("<I" if kind == FIXED32 else "<Q", value)[0]
        else:
            raise ValueError(f"a field has the unknown type {kind}")
        found.setdefault(number, []).append(value)
    return found


def integers(values: list[Any]) -> list[int]:
    """Return the numbers of a repeated int64 field, packed or not, with their signs."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        start = 0
        while start < len(value):
            number, start = varint(value, start)
            numbers.append(number)
    return [number - (number >> 63 << 64) for number in numbers]
