"""The format of .safetensors: as the package of that name has it, and every invalid file refused in one sentence."""

import contextlib
import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from biggan_jax.checkpoint.safetensors import DTYPES, from_bytes, to_bytes
from biggan_jax.types import UserError
from tests.properties import damaged

ARRAYS = {name: np.arange(6).reshape(2, 3).astype(kind) for name, kind in DTYPES.items() if name != "BF16"}
ARRAYS |= {"a.scalar": np.array(2.5, np.float32), "a.none": np.zeros((0, 3), np.float32)}
ABOUT = {"step": "3", "weights": "ema"}


def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(**changed):
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}


def test_arrays_of_all_types_come_back():
    arrays = ARRAYS | {"BF16": np.asarray(jnp.array([1.5, -2.0], jnp.bfloat16))}
    found, about = from_bytes(to_bytes(arrays, ABOUT), "f")
    assert about == ABOUT and found.keys() == arrays.keys()
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype and array.shape == arrays[name].shape
        np.testing.assert_array_equal(array, arrays[name])


def test_equal_arrays_give_equal_bytes():
    assert to_bytes(ARRAYS, ABOUT) == to_bytes(dict(reversed(ARRAYS.items())), dict(reversed(ABOUT.items())))


def test_the_package_safetensors_reads_and_writes_the_same():
    package = pytest.importorskip("safetensors.numpy")
    read = package.load(to_bytes(ARRAYS, ABOUT))
    written, about = from_bytes(package.save(ARRAYS, ABOUT), "f")
    assert about == ABOUT
    for name, array in ARRAYS.items():
        for other in (read, written):
            assert other[name].dtype == array.dtype and other[name].tobytes() == array.tobytes()


VALID = json.dumps(entry()["x"])
INVALID = {
    "empty": b"",
    "short": b"\x08\0\0",
    "header beyond the end": file(entry(), b"\0" * 8)[:20],
    "giant header": struct.pack("<Q", 2**63) + b"{}",
    "pickle": b"\x80\x04\x95" + b"\0" * 20,
    "not JSON": file(b"{x"),
    "not UTF-8": file(b"{\xff\xff}"),
    "nested": file(b'{"x":' * 100_000 + b"}" * 100_000),
    "not an object": file(b"[1]"),
    "twice": file(f'{{"x": {VALID}, "x": {VALID}}}'.encode(), b"\0" * 8),
    "truncated": file(entry(), b"\0" * 7),
    "longer": file(entry(), b"\0" * 9),
    "no fields": file({"x": 3}),
    "unknown type": file(entry(dtype="F8_E4M3"), b"\0" * 8),
    "type no text": file(entry(dtype=["F32"]), b"\0" * 8),
    "other shape": file(entry(shape=[3]), b"\0" * 8),
    "negative shape": file(entry(shape=[-1, -2]), b"\0" * 8),
    "shape of truth": file(entry(shape=[2, True]), b"\0" * 8),
    "shape of fractions": file(entry(shape=[2.0]), b"\0" * 8),
    "many axes": file(entry(shape=[2, *[1] * 40]), b"\0" * 8),
    "gap": file(entry(data_offsets=[1, 9]), b"\0" * 9),
    "offsets": file(entry(data_offsets=[0]), b"\0" * 8),
    "overlap": file(entry() | {"y": entry()["x"]}, b"\0" * 8),
    "metadata": file({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_file_is_one_sentence(what):
    with pytest.raises(UserError, match=r"^folder/f.safetensors( is|: )") as refused:
        from_bytes(INVALID[what], "folder/f.safetensors")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


@given(raw=damaged([to_bytes({"x": np.arange(4.0), "y": np.arange(3)}, ABOUT), file(entry(), b"0" * 8)]))
def test_changed_files_raise_nothing_but_a_user_error(raw):
    with contextlib.suppress(UserError):
        from_bytes(raw, "f")
