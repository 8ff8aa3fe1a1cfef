import types

import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.data.dataset import Images
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES, MetricWriter
from biggan_jax.stability import monitor, schedule
from biggan_jax.stability.monitor import CollapseMonitor
from biggan_jax.stability.rules import Verdict
from biggan_jax.stability.schedule import ProbeSchedule, images_for_probes
from biggan_jax.stability.signals import Probe

METRICS = {name: jnp.float32(1) for name in schedule.STEP_METRICS}


@pytest.fixture
def looks(monkeypatch):
    """A state is its own one signal."""
    monkeypatch.setattr(
        schedule, "probe", lambda gan, state, images: Probe({"d_real": state}, {"generator": {"w": state[None]}})
    )


def watched(folder, every=2):
    return ProbeSchedule(types.SimpleNamespace(mesh=None), every, {}, MetricWriter(folder, start=0))


def test_a_look_is_known_one_round_late_and_recorded(looks, tmp_path):
    watch_ = watched(tmp_path)
    found = [watch_.after_step(step, jnp.float32(step), METRICS) for step in (1, 2, 3, 4)]
    assert [bool(record) for record in found] == [False, False, True, False]
    watch_.flush()
    records = jsonl.read(tmp_path, PROBES)
    assert [(r["step"], r["signals"]["d_real"], r["singular"]["generator"]["w"]) for r in records] == [
        (2, 2, [2]),
        (4, 4, [4]),
    ]
    assert {"d_loss", "g_grad_norm"} <= records[0]["signals"].keys()


def test_a_round_with_a_score_is_looked_at_whenever_it_comes(looks, tmp_path):
    watch_ = watched(tmp_path, every=0)
    watch_.after_step(3, jnp.float32(3), METRICS, score=7.5)
    assert watch_.flush()["signals"]["score"] == 7.5
    assert watch_.begin(jnp.float32(0)) is None


def guarded(folder, **changed):
    nonfinite = types.SimpleNamespace(excess=0, what="D's loss", after_step=lambda *_: None, fetch=lambda: None)
    parts = {
        "schedule": watched(folder, every=1),
        "nonfinite": nonfinite,
        "nonfinite_limit": 3,
        "score": None,
        "score_every": 0,
    }
    return CollapseMonitor(**parts | {"expected": (), "history": [], "ignored": set()} | changed)


def test_a_verdict_comes_with_the_look_that_gives_it_and_at_the_last_round_at_once(looks, tmp_path, monkeypatch):
    verdict = lambda records, *_: Verdict(2, 1, "x", 0, 0, "") if records[-1]["step"] == 2 else None
    monkeypatch.setattr(monitor, "evaluate", verdict)
    monkeypatch.setattr(monitor, "is_healthy", lambda *_: True)
    asked = lambda guard_, last: [guard_.after_step(s, jnp.float32(s), METRICS, at_once=s == last) for s in (1, 2, 3)]
    assert [bool(v) for v in asked(guarded(tmp_path), last=3)] == [False, False, True]
    assert [bool(v) for v in asked(guarded(tmp_path), last=2)][:2] == [False, True]


def test_the_score_is_that_of_the_round_just_played(looks, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "evaluate", lambda *_: None)
    monkeypatch.setattr(monitor, "is_healthy", lambda records, _: records[-1]["step"] < 2)
    guard_ = guarded(tmp_path, score=lambda state: float(state) * 10, score_every=2)
    seen = []
    for step in (1, 2, 3):
        guard_.after_step(step, jnp.float32(step), METRICS)
        seen.append(guard_.latest_score)
    assert seen == [None, 20.0, None]
    assert guard_.history[1]["signals"]["score"] == 20.0
    assert guard_.last_healthy_step == 1
    assert guarded(tmp_path, history=guard_.history).last_healthy_step == 1, "after a resume, too"


def test_too_many_rounds_that_are_not_finite_are_a_verdict(looks, tmp_path):
    guard_ = guarded(tmp_path)
    guard_.nonfinite.excess = 3
    verdict = guard_.after_step(9, jnp.float32(9), METRICS)
    assert (verdict.signal, verdict.onset) == ("nonfinite", 5) and "D's loss" in verdict.sentence


def test_images_of_looks_are_the_same_every_time_and_64_at_least():
    source = Images(np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8), np.arange(100), 100)
    mesh = sharding.make_mesh()
    first, again = (images_for_probes({"real": source}, 0, 16, mesh, (0, 1))["real"] for _ in range(2))
    assert first[0].shape == (64, 4, 4, 3) and len(set(first[1].tolist())) == 64
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(source.images[first[1]], first[0])
