import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.sampling import kept_statistics
from tests.conftest import tiny_config

STATISTICS = {"bn_0": {"mean": jnp.arange(3.0), "var": jnp.ones(3)}, "bn_1": {"mean": jnp.array([0.1, 1 / 3])}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The cache folder of a test."""
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))
    return tmp_path / "standing"


def read(key="a", like=STATISTICS):
    """Return (statistics, whether they were measured)."""
    measured = []
    found = kept_statistics.read_or_measure(key, like, lambda: measured.append(1) or STATISTICS)
    return found, bool(measured)


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y) and x.dtype == y.dtype, a, b))


def test_statistics_are_measured_once_and_kept_bit_for_bit(folder):
    first, second, other = read(), read(), read("b")
    assert [measured for _, measured in (first, second, other)] == [True, False, True]
    assert same(first[0], STATISTICS) and same(second[0], STATISTICS)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"no archive"])
def test_damaged_files_are_measured_again(damage, folder):
    read()
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert read()[1] and not read()[1]


def test_arrays_of_other_shapes_are_measured_again():
    read()
    assert read(like=STATISTICS | {"bn_2": {"mean": jnp.zeros(1)}})[1]
    assert read(like=STATISTICS | {"bn_1": {"mean": jnp.zeros(3)}})[1]


def test_a_folder_that_cannot_be_written_is_no_hindrance(folder):
    folder.write_text("a file in its place")
    assert read()[1] and read()[1]


def test_the_newest_files_stay(folder, monkeypatch):
    monkeypatch.setattr(kept_statistics, "FILES", 2)
    for age, key in ((30, "a"), (20, "b")):
        read(key)
        os.utime(folder / f"{key}.npz", (age, age))
    read("a")  # Read again, so it is newer than b.
    read("c")
    assert {path.stem for path in folder.iterdir()} == {"a", "c"}


def test_all_that_determines_them_is_in_the_key(monkeypatch):
    config = tiny_config()
    gan, weights = build_gan(config), {"linear": {"kernel": jnp.ones((2, 3))}}
    usual = {"seed": 0, "truncation": None, "passes": 100}
    of = lambda weights=weights, config=config, **changes: kept_statistics.key_of(
        gan, config, weights, **usual | changes
    )
    other = tiny_config()
    other.dtype = "bfloat16"
    keys = [
        of(),
        of(seed=1),
        of(passes=99),
        of(truncation=Truncation(0.5)),
        of(truncation=dataclasses.replace(Truncation(0.5), kind="scale")),
        of(config=other),
        of(weights={"linear": {"kernel": jnp.ones((2, 3)).at[0, 0].set(1 + 1e-6)}}),
        of(weights={"linear": {"kernel": jnp.ones((3, 2))}}),
    ]
    with jax.default_matmul_precision("highest"):
        keys.append(of())
    assert of() == keys[0] and len(set(keys)) == len(keys)
