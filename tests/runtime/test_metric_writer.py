import json
import struct
import sys
import types

import numpy as np
import pytest

from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES, MetricWriter
from biggan_jax.sampling.pictures import save_png

GRID = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_metrics_after_the_resumed_step_are_dropped(tmp_path):
    lines = [json.dumps({"step": step}) for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"ste']) + "\n")
    writer = MetricWriter(tmp_path, start=3)
    writer.scalars(4, {"d_loss": 1.0})
    writer.close()
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [{"step": 1}, {"step": 2}, {"step": 3}, {"step": 4, "d_loss": 1.0}]


def events(workdir):
    """Return the events in all event files of a folder. An event is a header, a record and their checksums."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    for path in sorted(workdir.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("Q", data[:8])
            record = data[12 : 12 + size]
            assert data[8:12] == struct.pack("I", masked_crc32c(data[:8]))
            assert data[12 + size : 16 + size] == struct.pack("I", masked_crc32c(record))
            yield Event.FromString(record)
            data = data[16 + size :]


def test_tensorboard_events_hold_metrics_probes_and_samples(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = MetricWriter(tmp_path, start=0)
    writer.scalars(1, {"d_loss": 0.5})
    writer.write_probe({"step": 2, "signals": {"d_real": 0.25}, "singular": {"generator": {"w": [4.0, 1.0]}}})
    writer.picture(3, "ema", GRID)
    writer.close()
    first, *found = events(tmp_path)
    assert first.file_version == "brain.Event:2"
    scalars = {(e.step, v.tag): v.simple_value for e in found for v in e.summary.value if not v.HasField("image")}
    assert scalars == {(1, "d_loss"): 0.5, (2, "stability/d_real"): 0.25, (2, "singular/generator/w"): 4.0}
    (image,) = [v for e in found for v in e.summary.value if v.HasField("image")]
    assert (image.tag, image.image.height, image.image.width, image.image.colorspace) == ("samples/ema", 4, 6, 3)
    save_png(tmp_path / "same.png", GRID)
    assert image.image.encoded_image_string == (tmp_path / "same.png").read_bytes()
    assert jsonl.read(tmp_path, PROBES)[0]["singular"] == {"generator": {"w": [4.0, 1.0]}}


def test_tensorboard_itself_reads_the_event_file(tmp_path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = MetricWriter(tmp_path, start=0)
    writer.scalars(1, {"d_loss": 0.5})
    writer.picture(1, "ema", GRID)
    writer.close()
    tags = accumulator.EventAccumulator(str(tmp_path)).Reload().Tags()
    assert tags["scalars"] == ["d_loss"] and tags["images"] == ["samples/ema"]


def test_attempts_of_the_same_second_have_an_event_file_each(tmp_path):
    pytest.importorskip("tensorboardX")
    for attempt, start in ((0, 0), (1, 0), (1, 2)):
        writer = MetricWriter(tmp_path, start=start, attempt=attempt)
        writer.scalars(start + 1, {"d_loss": float(attempt)})
        writer.close()
    found = {(e.step, v.simple_value) for e in events(tmp_path) for v in e.summary.value}
    assert found == {(1, 0.0), (1, 1.0), (3, 1.0)}


def test_a_full_disk_is_raised_where_an_event_is_written(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    writer = MetricWriter(tmp_path, start=0)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._tensorboard.writer._py_recordio_writer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        writer.scalars(1, {"d_loss": 0.5})


def test_without_tensorboardx_training_continues(tmp_path, monkeypatch, caplog):
    for name in ("tensorboardX", *(name for name in sys.modules if name.startswith("tensorboardX."))):
        monkeypatch.setitem(sys.modules, name, None)
    writer = MetricWriter(tmp_path, start=0)
    writer.scalars(1, {"d_loss": 0.5})
    writer.picture(1, "ema", GRID)
    writer.close()
    assert "no TensorBoard" in caplog.text and not list(tmp_path.glob("events*"))
    assert jsonl.read(tmp_path, "metrics") == [{"step": 1, "d_loss": 0.5}]


def test_weights_and_biases_resumes_under_the_same_id(tmp_path, monkeypatch):
    started, logged = [], []
    fake = types.ModuleType("wandb")
    fake.Image = lambda grid: ("image", grid.shape)
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end")
    )
    fake.init = lambda **options: started.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 3):
        writer = MetricWriter(tmp_path, start=start, config={"wandb_project": "digits", "ch": 4})
        writer.scalars(start + 1, {"d_loss": 1.0})
        writer.picture(start + 1, "ema", GRID)
        writer.close()
    assert started[0]["project"] == "digits" and started[0]["config"]["ch"] == 4
    assert started[0]["id"] == started[1]["id"]
    assert logged[:3] == [(1, {"d_loss": 1.0}), (1, {"samples/ema": ("image", (4, 6, 3))}), "end"]


def test_without_weights_and_biases_training_continues(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    MetricWriter(tmp_path, start=0, config={"wandb_project": "digits"}).close()
    assert "Weights & Biases cannot be used" in caplog.text
