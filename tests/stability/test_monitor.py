import types

import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.data.dataset import Images
from biggan_jax.hooks import make_monitor
from biggan_jax.models import build_gan
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES, MetricWriter
from biggan_jax.stability import monitor
from biggan_jax.stability.monitor import CollapseMonitor, ProbeSchedule, images_for_probes
from biggan_jax.stability.rules import Verdict, rules_of
from biggan_jax.stability.signals import Probe
from biggan_jax.state import init_shapes

METRICS = {f"{network}{metric}": jnp.float32(1) for network in "dg" for metric in monitor.STEP_METRICS}


class Unchanging:
    """A family whose networks do not grow, of which `fake_probe` needs no more."""

    mesh = None

    def after(self, steps):
        return self


@pytest.fixture
def fake_probe(monkeypatch):
    """Probes with one signal, the state itself."""
    monkeypatch.setattr(
        monitor, "probe", lambda gan, state, images: Probe({"d_real": state}, {"generator": {"w": state[None]}})
    )


def schedule_in(folder, every=2):
    return ProbeSchedule(Unchanging(), every, {}, MetricWriter(folder, start=0))


def test_a_probe_is_recorded_one_step_late(fake_probe, tmp_path):
    probes = schedule_in(tmp_path)
    found = [probes.after_step(step, jnp.float32(step), METRICS) for step in (1, 2, 3, 4)]
    assert [bool(record) for record in found] == [False, False, True, False]
    probes.flush()
    records = jsonl.read(tmp_path, PROBES)
    assert [(r["step"], r["signals"]["d_real"], r["singular"]["generator"]["w"]) for r in records] == [
        (2, 2, [2]),
        (4, 4, [4]),
    ]
    assert {"d_loss", "g_grad_norm"} <= records[0]["signals"].keys()


def test_a_probe_has_the_losses_of_lazy_updates_that_ran_before(fake_probe, tmp_path):
    probes = ProbeSchedule(Unchanging(), 2, {}, MetricWriter(tmp_path, start=0), [1, 4])
    for step in range(1, 7):
        ran = step % 4 == 1
        probes.after_step(step, jnp.float32(step), {"d_loss": 0.5, "gp_loss": step if ran else np.nan, "gp": 3.0})
    probes.flush()
    losses = [record["signals"] for record in jsonl.read(tmp_path, PROBES)]
    assert [seen.get("gp_loss") for seen in losses] == [1, None, 5] and "gp" not in losses[0]


def test_a_step_with_a_score_is_always_probed(fake_probe, tmp_path):
    probes = schedule_in(tmp_path, every=0)
    probes.after_step(3, jnp.float32(3), METRICS, {"score": 7.5})
    assert probes.flush()["signals"]["score"] == 7.5
    assert probes.begin(jnp.float32(0)) is None


def monitor_in(folder, **changed):
    nonfinite = types.SimpleNamespace(excess=0, what="D's loss", after_step=lambda *_: None, fetch=lambda: None)
    parts = {
        "schedule": schedule_in(folder, every=1),
        "nonfinite": nonfinite,
        "nonfinite_limit": 3,
        "score": None,
        "score_every": 0,
    }
    return CollapseMonitor(**parts | {"expected": (), "history": [], "ignored": set()} | changed)


def test_a_verdict_comes_one_step_late_or_with_at_once(fake_probe, tmp_path, monkeypatch):
    verdict = lambda records, *_: Verdict(2, 1, "x", 0, 0, "") if records[-1]["step"] == 2 else None
    monkeypatch.setattr(monitor, "evaluate", verdict)
    monkeypatch.setattr(monitor, "is_healthy", lambda *_: True)
    asked = lambda monitor_, last: [
        monitor_.after_step(s, jnp.float32(s), METRICS, at_once=s == last) for s in (1, 2, 3)
    ]
    assert [bool(v) for v in asked(monitor_in(tmp_path), last=3)] == [False, False, True]
    assert [bool(v) for v in asked(monitor_in(tmp_path), last=2)][:2] == [False, True]


def test_the_latest_score_is_that_of_the_step_just_done(fake_probe, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "evaluate", lambda *_: None)
    monkeypatch.setattr(monitor, "is_healthy", lambda records, _: records[-1]["step"] < 2)
    real = {"score_of_real": 3.0}
    monitor_ = monitor_in(tmp_path, score=lambda state: float(state) * 10, score_every=2, real_scores=real)
    seen = []
    for step in (1, 2, 3):
        monitor_.after_step(step, jnp.float32(step), METRICS)
        seen.append(monitor_.latest_score)
    assert seen == [None, 20.0, None]
    assert monitor_.history[1]["signals"].items() >= {"score": 20.0, "score_of_real": 3.0}.items()
    assert "score_of_real" not in monitor_.history[0]["signals"]
    assert monitor_.last_healthy_step == 1
    assert monitor_in(tmp_path, history=monitor_.history).last_healthy_step == 1, "after a resume, too"


def test_too_many_non_finite_steps_are_a_verdict(fake_probe, tmp_path):
    monitor_ = monitor_in(tmp_path)
    monitor_.nonfinite.excess = 3
    verdict = monitor_.after_step(9, jnp.float32(9), METRICS)
    assert (verdict.signal, verdict.onset) == ("nonfinite", 5) and "D's loss" in verdict.sentence


def test_probes_use_the_same_images_and_at_least_64():
    source = Images(np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8), np.arange(100), 100)
    mesh = sharding.make_mesh()
    first, again = (images_for_probes({"real": source}, 0, 16, mesh, (0, 1))["real"] for _ in range(2))
    assert first[0].shape == (64, 4, 4, 3) and len(set(first[1].tolist())) == 64
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(source.images[first[1]], first[0])


def test_a_run_of_points_has_the_rules_of_points(tmp_path):
    c = configs.base("wgan")
    c.update_from_flattened_dict({"model.network": "mlp", "model.image_shape": (2,), "model.hidden": 4})
    c.update_from_flattened_dict({"loss": "wasserstein", "regularizer.clip": 0.01, "stability.every": 0})
    gan = build_gan(c)
    state = init_shapes(gan).replace(step=0)
    made = make_monitor(types.SimpleNamespace(config=c, workdir=tmp_path), gan, state, None)
    assert made.rules == rules_of((2,))
