import errno
import itertools
import json
import logging
import os
import pathlib
import shutil
import signal
import time
import types

import numpy as np
import pytest
from PIL import Image

from biggan_jax import checkpoint, data, hooks
from biggan_jax.checkpoint import resume
from biggan_jax.checkpoint.resume import claim_workdir, keep_data_order
from biggan_jax.config import AUTO
from biggan_jax.evaluation.evaluator import TrainingScore
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.cli import Process
from tests.conftest import reused, tiny_config

TINY = pathlib.Path(__file__).parent / "configs" / "tiny.py"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, programs):
    """A run of four steps without interruption."""
    workdir = tmp_path_factory.mktemp("unbroken")
    c = tiny_config()
    c.sample_every = 4
    with reused(programs):
        assert train(c, workdir)
    return workdir


@pytest.fixture(scope="module")
def small(tmp_path_factory, programs, with_dense):
    """A run like `unbroken` of dense networks, for tests of what is around a step."""
    workdir = tmp_path_factory.mktemp("small")
    c = tiny_config("dense")
    c.sample_every = 4
    with reused(programs):
        assert train(c, workdir)
    return workdir


def test_a_resumed_run_is_bitwise_identical(unbroken, tmp_path, compile_once):
    c = tiny_config()
    c.sample_every = 4
    c.num_steps = 2
    assert train(c, tmp_path)
    c.num_steps = 4
    assert train(c, tmp_path)
    assert checkpoint.compare(unbroken, tmp_path) == []
    assert checkpoint.compare(unbroken, tmp_path / "checkpoints" / "2") != []


def test_a_run_is_bitwise_identical_after_it_was_compiled_again(dense, tmp_path):
    assert train(dense, tmp_path / "unbroken")
    for steps in (2, 4):
        dense.num_steps = steps
        assert train(dense, tmp_path / "resumed")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path / "resumed") == []


def test_an_adapted_probability_is_resumed_bit_for_bit(dense, tmp_path, compile_once):
    dense.augment.update(ada=("blit", "colour"), p=0.5, target=0.6, speed=100.0, every=1)
    assert train(dense, tmp_path / "unbroken")
    for steps in (2, 4):
        dense.num_steps = steps
        assert train(dense, tmp_path / "resumed")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path / "resumed") == []
    lines = [json.loads(line) for line in (tmp_path / "resumed" / "metrics.jsonl").read_text().splitlines()]
    assert len({line["augment_p"] for line in lines}) > 2


def test_fine_tuning_keeps_frozen_blocks_and_stores_an_automatic_r1(small, dense, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    allowed, rules_of = [], hooks.rules_of
    monkeypatch.setattr(
        hooks, "rules_of", lambda *args, **options: allowed.append(options) or rules_of(*args, **options)
    )
    dense.num_steps, dense.init_from, dense.freeze_d, dense.regularizer.r1 = 1, str(small), 1, AUTO
    assert train(dense, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["regularizer"]["r1"] == 0.0032
    assert "regularizer.r1=auto is 0.0032: 0.0002 x 16 x 16 / batch_size 16" in caplog.text
    assert "D: not trained: hidden" in caplog.text
    assert allowed == [{"fine_tuned": True}], "the collapse monitor allows a start"
    changed = "\n".join(checkpoint.compare(small, tmp_path))
    assert "discriminator.params.linear" in changed and "discriminator.params.hidden" not in changed
    assert train(dense, tmp_path)  # The same command resumes, though its config says auto.


def test_a_run_writes_metrics_config_samples_and_checkpoints(unbroken):
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


def test_a_workdir_of_another_config_is_refused(unbroken):
    c = tiny_config()
    c.batch_size, c.model.ch = 32, 8
    with pytest.raises(UserError, match=r"batch_size 16 -> 32, model.ch 4 -> 8.; use another folder, or that config"):
        train(c, unbroken)


def test_many_changed_keys_are_counted_and_listed_elsewhere(unbroken):
    c = tiny_config()
    c.batch_size, c.d_steps, c.model.ch, c.model.dim_z, c.ema.decay = 32, 3, 8, 24, 0.5
    c.optimizer.g_lr = c.optimizer.d_lr = c.optimizer.b2 = 0.5
    with pytest.raises(UserError) as refused:
        resume.check_config(unbroken, c)
    assert str(refused.value).count(" -> ") == 6
    assert f" and 2 more; biggan-config diff plain:{unbroken}/config.json NAME lists all)" in str(refused.value)


def test_a_refused_change_names_the_command_to_fine_tune(unbroken):
    c = tiny_config()
    c.optimizer.g_lr, c.augment.policy, c.data.workers = 0.5, ("colour", "cutout"), 1
    with pytest.raises(UserError) as refusal:
        claim_workdir(unbroken, c)
    command = f"--config=finetune:{unbroken} --workdir=NEW"
    assert str(refusal.value).endswith(f"{command} --config.augment.policy=colour,cutout --config.optimizer.g_lr=0.5")
    c = tiny_config()
    c.model.ch, c.model.resolution = 8, 32
    with pytest.raises(UserError) as refusal:
        claim_workdir(unbroken, c)
    assert str(refusal.value).endswith(f"{command} --config.model.ch=8 --config.model.resolution=32")


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
        ("score.every", 3, "score.every 3 is no multiple of checkpoint_every 2, .*; set --config.score.every=4 too"),
        ("stability.expected", "300:nan", "stability.expected .* is not STEP:SCORE"),
        ("stability.expected", "300", "stability.expected '300' is not STEP:SCORE,STEP:SCORE, such as"),
        ("stability.on_collapse", "rolback", "stability.on_collapse 'rolback' is unknown; did you mean rollback?"),
        ("augment.policy", ("color",), "augment.policy 'color' is unknown; did you mean colour?"),
        ("batch_size", 8192, "data.name digits has 1,497 images, fewer than one batch of 8,192"),
        ("score", {"every": 2, "network": "inception-2015"}, "inception-2015 needs its weights"),
        ("score", {"every": 2, "network": "inception-2015", "inception": "no.pth"}, "no.pth cannot be read"),
        ("score", {"every": 2, "num": 1}, "score.num is 1; it must be at least 2"),
    ],
)
def test_a_bad_config_is_refused_before_anything_is_written(config, tmp_path, monkeypatch, key, value, sentence):
    changes = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict(changes)
    # Nor are weights made or loaded.
    monkeypatch.setattr(resume, "load_weights", None)
    monkeypatch.setattr(resume, "restore_or_init", None)
    with pytest.raises(UserError, match=sentence):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_workdir_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        train(config, tmp_path / "file" / "run")


def test_a_profile_is_written(dense, tmp_path, compile_once):
    dense.num_steps, dense.profile_steps = 3, "1:2"
    assert train(dense, tmp_path)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


class Silent:
    """A progress line that shows nothing."""

    step = lambda self, step: None
    metrics = lambda self, step, values: values


def test_metrics_are_fetched_one_step_late():
    class Metric:
        fetched = 0

        def __float__(self):
            Metric.fetched += 1
            return 0.0

    log = hooks.MetricLogger(1, None, Silent())
    log.after_step(1, {"d_loss": Metric()})
    assert Metric.fetched == 0
    log.after_step(2, {"d_loss": Metric()})
    assert Metric.fetched == 1


@pytest.mark.parametrize(("period", "written"), [(3, {4: 4, 8: 7, 12: 10}), (8, {4: 1, 12: 9})])
def test_each_lazy_metric_is_in_the_next_line_once(period, written):
    lines = {}

    class Writer:
        scalars = lambda self, step, values: lines.update({step: values})

    log = hooks.MetricLogger(4, Writer(), Silent(), [period])
    for step in range(1, 13):
        log.after_step(step, {"d_loss": 0.5, "penalty": step if (step - 1) % period == 0 else np.nan})
    log.flush()
    assert list(lines) == [4, 8, 12]
    assert {step: line["penalty"] for step, line in lines.items() if "penalty" in line} == written


def test_the_last_step_is_always_logged(dense, tmp_path, compile_once):
    dense.num_steps, dense.log_every = 3, 2
    assert train(dense, tmp_path)
    assert metrics(tmp_path) == [2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_call_resumes(small, tmp_path, compile_once, number):
    config = tiny_config("dense")
    config.sample_every, config.checkpoint_every = 4, 100
    log = hooks.MetricLogger.after_step

    def log_and_signal(self, step, metrics, *, last=False):
        log(self, step, metrics, last=last)
        if step == 2:
            signal.raise_signal(number)

    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks.MetricLogger, "after_step", log_and_signal)
        assert not train(config, tmp_path)
    assert checkpoint.checkpoint_steps(tmp_path) == [2]
    assert metrics(tmp_path) == [1, 2], "flushed before saving"
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert train(config, tmp_path)
    assert metrics(tmp_path) == [1, 2, 3, 4]
    assert checkpoint.compare(small, tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("crash"), OSError(errno.ENOSPC, "No space left on device")], ids=str)
def test_a_crash_loses_only_the_steps_since_the_last_save(small, tmp_path, compile_once, error):
    config = tiny_config("dense")
    config.sample_every = 4
    scalars = hooks.MetricWriter.scalars

    def fail_after_3(self, step, values):
        scalars(self, step, values)
        if step == 3:
            raise error

    full = isinstance(error, OSError)
    # Step 2 may not be completely written yet.
    sentence = "no room is left .* rerun the same command(; step 2 is saved)?$" if full else "crash"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError if full else RuntimeError, match=sentence):
        patch.setattr(hooks.MetricWriter, "scalars", fail_after_3)
        train(config, tmp_path)
    assert checkpoint.checkpoint_steps(tmp_path) == [2] and metrics(tmp_path) == [1, 2, 3]
    assert train(config, tmp_path)
    assert metrics(tmp_path) == [1, 2, 3, 4], "neither missing nor repeated"
    assert checkpoint.compare(small, tmp_path) == []


def test_a_corrupted_latest_checkpoint_names_the_step_to_resume(small, tmp_path, compile_once):
    workdir = shutil.copytree(small, tmp_path / "run")
    last = workdir / "checkpoints" / "4"
    for file in (last / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:-1])
    config = tiny_config("dense")
    config.sample_every, config.num_steps = 4, 5
    with pytest.raises(UserError, match="checkpoints/4 is damaged or incomplete .* step 2 is whole"):
        train(config, workdir)
    shutil.rmtree(last)
    config.num_steps = 4
    assert train(config, workdir)
    assert checkpoint.compare(small, workdir) == []


def test_a_run_may_continue_from_the_newest_whole_checkpoint(small, tmp_path, compile_once, caplog):
    workdir = tmp_path / "run"
    shutil.copytree(small, workdir)
    config, whole = checkpoint.load_config(checkpoint.find(small)), checkpoint.load_arrays(small)
    steps = checkpoint.checkpoint_steps(workdir)
    for file in (workdir / "checkpoints" / str(steps[-1])).rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(file.stat().st_size))
    assert train(config, workdir, on_damage="fallback")
    said = f"steps {steps[-1]}; continuing from step {steps[-2]}"
    assert any(message.endswith(said) for message in caplog.messages)
    assert os.listdir(workdir / "checkpoints_damaged") == [str(steps[-1])]
    again = checkpoint.load_arrays(workdir)
    assert again.keys() == whole.keys() and all(np.array_equal(again[name], whole[name]) for name in whole)
    for step in checkpoint.checkpoint_steps(workdir):
        (workdir / "checkpoints" / str(step) / "config" / "metadata").write_bytes(b"{")
    with pytest.raises(UserError, match="no checkpoint in .* is whole .*, and none was moved"):
        train(config, workdir, on_damage="fallback")
    assert checkpoint.checkpoint_steps(workdir) == steps


def metrics(workdir):
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def start(workdir, *overrides):
    return Process("main", f"--config={TINY}", f"--workdir={workdir}", *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signalled_command_exits_75_and_resumes(tmp_path, number):
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
    assert metrics(tmp_path) == list(range(1, stopped + 2))

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


def test_only_process_0_logs_progress(caplog):
    from biggan_jax.runtime.progress import ProgressLine

    with caplog.at_level(logging.INFO):
        for shown, lines in ((False, 0), (True, 1)):
            line = ProgressLine(0, 10, 32, shown=shown)
            line.metrics(1, {"d_loss": 1.0, "g_loss": 1.0})
            line.close()
            assert len(caplog.records) == lines


def test_saving_counts_in_the_time_left_but_not_in_the_speed(caplog, monkeypatch):
    from biggan_jax.runtime.progress import ProgressLine

    clock = itertools.count(0, 5)  # Each look takes 5 s.
    monkeypatch.setattr(ProgressLine, "now", lambda self: next(clock))
    line = ProgressLine(0, 20, 32)
    line.step(1)
    with line.paused():
        pass
    with caplog.at_level(logging.INFO):
        assert line.metrics(10, {})["images_per_second"] == 32
    assert "0 min 15 s left" in caplog.text, "10 steps of 1 s, and half as long a pause as before"


def test_the_config_in_the_checkpoint_counts(unbroken, tmp_path):
    """Without config.json, another config is refused, too, and nothing is written."""
    shutil.copytree(unbroken / "checkpoints", tmp_path / "checkpoints")
    c = tiny_config()
    c.model.ch = 8
    with pytest.raises(UserError, match="model.ch 4 -> 8"):
        train(c, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_a_run_keeps_the_data_order_it_began_with(workdir, tmp_path, config):
    began = config.data.order
    config.data.order = "feistel" if began == "grain" else "grain"
    assert keep_data_order(workdir, config).data.order == began
    assert keep_data_order(tmp_path, config).data.order == config.data.order != began


def test_a_config_without_checkpoints_may_be_changed(config, tmp_path):
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


def test_the_score_of_real_images_is_logged_and_recorded(config, monkeypatch):
    real, lines = {"score_of_real": 1.5, "score_accuracy": 0.9}, []
    monkeypatch.setattr(
        hooks, "score_in_training", lambda *_, **__: TrainingScore(lambda *_: 3.0, real, "64 images", real)
    )
    monkeypatch.setattr(hooks.logger, "info", lambda text, *arguments: lines.append(text % arguments))
    config.score.every = 2
    run = types.SimpleNamespace(config=config, source=None, mesh=None)
    gan, state = types.SimpleNamespace(after=lambda steps: None), types.SimpleNamespace(step=2)
    score, beside = hooks._score(run, gan, None)
    assert score(state) == 3.0 and beside == real
    assert lines == ["score of real images: 1.5 (64 images; accuracy of classifier: 0.9)"]
    config.score.every = 0
    assert hooks._score(run, None, None) == (None, {})
