import json
import logging
import os
import pathlib
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from PIL import Image

from biggan_jax import checkpoint, data, hooks
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.checkpoint.workdir import claim_workdir
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.cli import Process
from tests.conftest import tiny_config

TINY = pathlib.Path(__file__).parent / "configs" / "tiny.py"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of four rounds in one go."""
    workdir = tmp_path_factory.mktemp("unbroken")
    c = tiny_config()
    c.sample_every = 4
    assert train(c, workdir)
    return workdir


def test_stopped_and_started_again_it_ends_in_the_same_bits(unbroken, tmp_path):
    c = tiny_config()
    c.sample_every = 4
    c.num_steps = 2
    assert train(c, tmp_path)
    jax.clear_caches()
    c.num_steps = 4
    assert train(c, tmp_path)
    assert checkpoint.compare(unbroken, tmp_path) == []
    assert checkpoint.compare(unbroken, tmp_path / "checkpoints" / "2") != []


def test_a_run_leaves_metrics_config_samples_and_checkpoints(unbroken):
    lines = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"d_loss", "g_loss", "d_real", "d_fake", "images_per_second"} <= lines[0].keys()
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert json.loads((unbroken / "config.json").read_text())["model"]["dim_z"] == 12
    for name in ("live", "ema"):
        sheet = Image.open(unbroken / "samples" / f"00000004_{name}.png")
        assert sheet.size[1] > sheet.size[0], "ten rows of eight"
    assert {p.name for p in (unbroken / "checkpoints").iterdir()} >= {"2", "4"}


def test_a_finished_run_has_nothing_left_to_do(unbroken):
    before = (unbroken / "metrics.jsonl").read_text()
    c = tiny_config()
    c.sample_every = 4
    assert train(c, unbroken)
    assert (unbroken / "metrics.jsonl").read_text() == before


def test_a_workdir_of_another_config_is_refused_by_key(unbroken):
    c = tiny_config()
    c.batch_size, c.model.ch = 32, 8
    with pytest.raises(UserError, match=r"batch_size 16 -> 32, model.ch 4 -> 8"):
        train(c, unbroken)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("batch_size", 12, "batch_size 12 is not divisible by 8 devices; nearest are 8 and 16"),
        ("model.num_classes", 9, "model.num_classes is 9, but data.name digits has 10 classes"),
        ("model.resolution", 20, "model.resolution 20 is unknown"),
        ("model.resolution", 32, "data.name digits has images of 16 pixels"),
        ("data.name", "digit", "did you mean digits?"),
        ("loss", "hing", "did you mean hinge?"),
        ("dtype", "float16", "dtype 'float16' is unknown"),
        ("profile_steps", "5", "profile_steps '5' is not START:STOP"),
        ("num_steps", 0, "num_steps is 0; it must be greater than 0"),
        ("ema.decay", 1.0, "ema.decay is 1.0; it must be at least 0 and less than 1"),
        ("seed", 2**31, "seed is 2147483648; it must be at most 2147483647"),
        ("optimizer.g_lr", float("nan"), "optimizer.g_lr must be a finite number, not NaN"),
        ("model.ch", 3, "model.ch 3 is too small for attention at 8, which needs 8 channels"),
        (
            "model.g_attention",
            (63,),
            "model.g_attention 63 is no size of G's feature maps at 16 pixels, which are 8, 16",
        ),
        ("score.every", 3, "score.every 3 is no multiple of checkpoint_every 2, .*; 4 is"),
        ("stability.expected", "300:nan", "stability.expected .* is not STEP:SCORE"),
        ("stability.expected", "300", "stability.expected '300' is not STEP:SCORE,STEP:SCORE, such as"),
        ("stability.on_collapse", "rolback", "stability.on_collapse 'rolback' is unknown; did you mean rollback?"),
        ("augment.policy", ("color",), "augment.policy 'color' is unknown; did you mean colour?"),
    ],
)
def test_a_bad_config_is_refused_before_anything_is_made(config, tmp_path, key, value, sentence):
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=sentence):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_workdir_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        train(config, tmp_path / "file" / "run")


def test_checkpoints_rotate_and_keep_each_multiple(config, tmp_path):
    state = jax.jit(lambda: init_state(build_gan(config), 0))()
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every=4)
    for step in range(1, 8):
        checkpoints.save(state.replace(step=np.int32(step)), config)
    checkpoints.close()
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [4, 6, 7]


def test_a_trace_is_written(config, tmp_path, compile_once):
    config.num_steps, config.profile_steps = 3, "1:2"
    assert train(config, tmp_path)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_metrics_are_fetched_one_step_late(monkeypatch):
    class Metric:
        fetched = 0

        def __float__(self):
            Metric.fetched += 1
            return 0.0

    class Silent:
        step = lambda self, step: None
        metrics = lambda self, step, values: values

    log = hooks.MetricLogger(1, None, Silent())
    log.after_step(1, {"d_loss": Metric()})
    assert Metric.fetched == 0
    log.after_step(2, {"d_loss": Metric()})
    assert Metric.fetched == 1


def test_the_last_step_has_a_line_of_metrics_whatever_log_every_says(config, tmp_path, compile_once):
    config.num_steps, config.log_every = 3, 2
    assert train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]


def start(workdir, *overrides):
    return Process("main", f"--config={TINY}", f"--workdir={workdir}", *overrides)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_exits_75_and_the_same_command_goes_on(tmp_path, number):
    endless = "--config.num_steps=100000", "--config.checkpoint_every=100000"
    process = start(tmp_path, *endless)
    wait_for_metrics(tmp_path, process)
    os.kill(process.pid, number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 75, stderr
    stopped = int(checkpoint.find(tmp_path).name)
    assert stopped > 0

    process = start(tmp_path, f"--config.num_steps={stopped + 1}", endless[1])
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 0, stderr
    assert checkpoint.find(tmp_path).name == str(stopped + 1)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, stopped + 2))

    c = tiny_config()
    c.num_steps = stopped + 1
    train(c, tmp_path / "unbroken")
    assert checkpoint.compare(tmp_path, tmp_path / "unbroken") == []


def wait_for_metrics(workdir, process):
    for _ in range(3000):
        if (workdir / "metrics.jsonl").exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise AssertionError("no metrics after five minutes")


def test_every_host_but_one_is_silent_about_progress(caplog):
    from biggan_jax.runtime.progress import ProgressLine

    with caplog.at_level(logging.INFO):
        for shown, lines in ((False, 0), (True, 1)):
            line = ProgressLine(0, 10, 32, shown=shown)
            line.metrics(1, {"d_loss": 1.0, "g_loss": 1.0})
            line.close()
            assert len(caplog.records) == lines


def test_the_config_of_a_run_is_its_checkpoints(unbroken, tmp_path):
    """Without config.json, too, another config is refused, and nothing is written."""
    shutil.copytree(unbroken / "checkpoints", tmp_path / "checkpoints")
    c = tiny_config()
    c.model.ch = 8
    with pytest.raises(UserError, match="model.ch 4 -> 8"):
        train(c, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_a_config_whose_run_made_no_checkpoint_may_be_changed(config, tmp_path):
    claim_workdir(tmp_path, config)
    config.batch_size = 32
    claim_workdir(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 32


def test_everything_is_closed_when_training_fails(config, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    closed = []
    monkeypatch.setattr(data, "read_ahead", broken)
    monkeypatch.setattr(hooks.ProgressLine, "close", lambda self: closed.append("progress"))
    monkeypatch.setattr(hooks.MetricWriter, "close", lambda self: closed.append("writer"))
    with pytest.raises(RuntimeError, match="out of memory"):
        train(config, tmp_path)
    assert closed == ["progress", "writer"]
