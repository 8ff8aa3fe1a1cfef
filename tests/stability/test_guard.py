"""benchmarks/guard.py: healthy recipes raise no alarm, and the collapse monitor sees what harms a run."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import train as module
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.config import load
from biggan_jax.data.loader import HostBatches
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes
from tests.conftest import benchmark_script

guard, harms = benchmark_script("guard"), benchmark_script("harms")
CASES = guard.cases(None)
COLLAPSES = [name for name in CASES if name.startswith("collapse")]
UNSEEN = {"collapse-digits-no_spectral_norm-0"}
"""Runs in which no rule sees a collapse: this one trains, if slowly."""


def test_there_are_20_healthy_recipes_and_20_collapses(tmp_path):
    kinds = {name.split("-")[2] for name in COLLAPSES}
    assert len(CASES) - len(COLLAPSES) == 20 and len(COLLAPSES) >= 20 and len(kinds) >= 12
    configs = {name: guard.config_of(tmp_path, name, run) for name, run in CASES.items()}
    assert configs["collapse-digits-d_dead-0"].num_steps == 800
    assert configs["collapse-digits-weak_d-1"].init_from == str(tmp_path / "healthy-digits-1")


@pytest.fixture(scope="module")
def state():
    """The quickstart's state, with numbers from 1 on in each array."""
    counted = lambda x: jnp.arange(1, x.size + 1, dtype=x.dtype).reshape(x.shape)
    return jax.tree.map(counted, init_shapes(build_gan(load("quickstart"))))


@pytest.mark.parametrize("harm", harms.STATE)
def test_a_harm_of_the_state_changes_the_arrays_it_names(state, harm):
    before, after = named_arrays(state), named_arrays(harms.STATE[harm](state))
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed and all(re.search(harms.STATE[harm].arrays, name) for name in changed)


@pytest.mark.parametrize("harm", ["bias_of_d_blown_up", "classes_of_g_zeroed"])
def test_a_harm_of_the_state_comes_once_or_stays(state, monkeypatch, harm):
    seen = []
    monkeypatch.setattr(module, "compile_step", lambda gan: lambda state, batch: seen.append(state))
    with harms.befalling(harm, at=2):
        step = module.compile_step(None)
        for number in range(5):
            step(state.replace(step=number), None)
    healthy = named_arrays(state)
    (array,) = (name for name in healthy if re.search(harms.STATE[harm].arrays, name))
    is_harmed = [not np.array_equal(named_arrays(s)[array], healthy[array]) for s in seen]
    assert is_harmed == [False, False, True, *[harms.STATE[harm].lasting] * 2]


class Pictures:
    """A data set of 64 pictures."""

    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)

    def __len__(self):
        return 64

    def read(self, indices, offsets):
        return self.images[indices], indices.astype(np.int32) % 10, ()


@pytest.mark.parametrize("harm", harms.DATA)
def test_a_harm_of_the_data_stays_and_repeats(harm):
    make = HostBatches(Pictures(), 0, 0, 2, 8, flip=False, crop="center")
    healthy = [make(step)[0] for step in range(3)]
    with harms.befalling(harm, at=1):
        harmed, again = ([make(step)[0] for step in range(3)] for _ in range(2))
    same = lambda a, b: all(np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)
    assert [same(a, b) for a, b in zip(healthy, harmed, strict=True)] == [True, False, False]
    assert all(map(same, harmed, again)) and same(make(1)[0], healthy[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a shorter form of the two healthy runs from which collapses start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "STEPS", {"healthy": 300, "collapse": 120})
        out = tmp_path_factory.mktemp("guard")
        for name in ("healthy-digits-0", "healthy-digits-1"):
            guard.train_one(out, name, CASES[name])
        yield out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in COLLAPSES])
def test_a_healthy_recipe_raises_no_alarm(runs, name):
    guard.train_one(runs, name, CASES[name])
    (row,) = guard.report(runs, {name: CASES[name]})
    assert row["steps"] == 300 and row["verdict"] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COLLAPSES if name not in UNSEEN])
def test_a_forced_collapse_is_seen(runs, name):
    guard.train_one(runs, name, CASES[name])
    (row,) = guard.report(runs, {name: CASES[name]})
    assert row["verdict"] and row["verdict"]["step"] > row["harmed_at"], row
