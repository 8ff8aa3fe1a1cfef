import json
import sys
import types

import numpy as np
import pytest

from biggan_jax.runtime.metric_writer import MetricWriter

SHEET = np.zeros((8, 8, 3), np.uint8)


def test_metrics_after_the_step_that_a_run_goes_on_from_are_dropped(tmp_path):
    lines = [json.dumps({"step": step}) for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"ste']) + "\n")
    writer = MetricWriter(tmp_path, start=3)
    writer.scalars(4, {"d_loss": 1.0})
    writer.close()
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [{"step": 1}, {"step": 2}, {"step": 3}, {"step": 4, "d_loss": 1.0}]


def test_tensorboard_events_are_written_where_tensorflow_is(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = MetricWriter(tmp_path, start=0)
    writer.scalars(1, {"d_loss": 0.5})
    writer.picture(1, "ema", SHEET)
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload().Tags()
    assert "d_loss" in events["tensors"] + events["scalars"]
    assert "samples/ema" in " ".join(events["tensors"] + events["images"])


def test_weights_and_biases_are_told_the_same_run_when_it_goes_on(tmp_path, monkeypatch):
    started, logged = [], []
    fake = types.ModuleType("wandb")
    fake.Image = lambda sheet: ("image", sheet.shape)
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end")
    )
    fake.init = lambda **options: started.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 3):
        writer = MetricWriter(tmp_path, start=start, wandb_project="digits", config={"ch": 4})
        writer.scalars(start + 1, {"d_loss": 1.0})
        writer.picture(start + 1, "ema", SHEET)
        writer.close()
    assert started[0]["project"] == "digits" and started[0]["config"] == {"ch": 4}
    assert started[0]["id"] == started[1]["id"]
    assert logged[:3] == [(1, {"d_loss": 1.0}), (1, {"samples/ema": ("image", (8, 8, 3))}), "end"]


def test_where_weights_and_biases_cannot_be_used_training_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    MetricWriter(tmp_path, start=0, wandb_project="digits").close()
    assert "Weights & Biases cannot be used" in caplog.text
