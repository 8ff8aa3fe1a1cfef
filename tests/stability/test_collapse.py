"""What train() does when the collapse monitor gives a verdict."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from biggan_jax import checkpoint, data
from biggan_jax.runtime import jsonl
from biggan_jax.stability import monitor
from biggan_jax.stability.recovery import CollapseError
from biggan_jax.stability.rules import Verdict
from biggan_jax.stability.signals import Probe
from biggan_jax.train import train
from tests.cli import run
from tests.test_train import TINY


@pytest.fixture
def probed(monkeypatch, dense, compile_once):
    """A config of six steps with a fake probe at each, and a checkpoint every second step."""
    monkeypatch.setattr(monitor, "probe", lambda gan, state, images: Probe({"attempt": state.attempt}, {}))
    dense.num_steps, dense.stability.every, dense.checkpoint_keep = 6, 1, 9
    return dense


@pytest.fixture
def collapses_at_5(monkeypatch):
    """The monitor gives a verdict at step 5 of attempt 0 only."""

    def evaluate(records, expected, ignored, rules):
        last = records[-1]
        if last["step"] == 5 and last["signals"]["attempt"] == 0 and "diversity" not in ignored:
            return Verdict(5, 3, "diversity", 0.1, 0.3, "all samples are one")
        return None

    monkeypatch.setattr(monitor, "evaluate", evaluate)
    monkeypatch.setattr(monitor, "is_healthy", lambda records, rules: records[-1]["step"] <= 3)


def events(workdir):
    return [json.loads(line) for line in (workdir / "guard.jsonl").read_text().splitlines()]


def test_a_collapse_stops_the_run_and_names_the_kept_checkpoint(probed, collapses_at_5, tmp_path):
    with pytest.raises(CollapseError, match="all samples are one; step 2 is kept from before"):
        train(probed, tmp_path)
    assert events(tmp_path)[0]["action"] == "stop"
    assert checkpoint.checkpoint_steps(tmp_path)[0] == 2
    with pytest.raises(CollapseError, match="all samples are one"):
        train(probed, tmp_path)


def test_an_ignored_collapse_is_reported_once(probed, collapses_at_5, tmp_path):
    probed.stability.on_collapse = "ignore"
    assert train(probed, tmp_path)
    assert [event["action"] for event in events(tmp_path)] == ["ignored"]
    assert checkpoint.find(tmp_path).name == "6"


def test_a_rollback_resumes_with_other_latents_and_data(probed, collapses_at_5, tmp_path, monkeypatch):
    attempts, host_batches = [], data.host_batches

    def of_attempt_0(source, config, attempt, *hosts):
        attempts.append(attempt)
        return host_batches(source, config, 0, *hosts)

    monkeypatch.setattr(data, "host_batches", of_attempt_0)  # So that only the latents can change the loss below.
    probed.stability.on_collapse = "rollback"
    assert train(probed, tmp_path)
    assert attempts == [0, 1], "the data order is that of the attempt"
    assert [(e["action"], e["checkpoint"]) for e in events(tmp_path)] == [("rollback", 2)]
    lines = jsonl.read(tmp_path, "metrics")
    assert [(r.get("attempt", 0), r["step"]) for r in lines] == [(0, s) for s in range(1, 6)] + [
        (1, s) for s in range(3, 7)
    ]
    losses = {(r.get("attempt", 0), r["step"]): r["d_loss"] for r in lines}
    assert losses[0, 3] != losses[1, 3], "the latents are those of the attempt"


@pytest.mark.slow
def test_an_interrupted_rollback_is_bitwise_identical(probed, collapses_at_5, tmp_path):
    probed.stability.on_collapse = "rollback"
    assert train(probed, tmp_path / "unbroken")
    probed.num_steps = 4  # Before the collapse.
    assert train(probed, tmp_path / "broken")
    probed.num_steps = 6
    assert train(probed, tmp_path / "broken")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path / "broken") == []
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "6")  # After it.
    assert train(probed, tmp_path / "broken")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path / "broken") == []
    assert len(events(tmp_path / "broken")) == 1
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "6")  # Before its first checkpoint.
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "4")
    assert train(probed, tmp_path / "broken")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path / "broken") == []


@pytest.mark.slow
def test_non_finite_steps_exit_3_and_name_the_weights(tmp_path):
    command = [sys.executable, "-m", "biggan_jax.main", f"--config={TINY}", f"--workdir={tmp_path}"]
    command += ["--config.optimizer.d_lr=1e38", "--config.num_steps=1000", "--config.stability.nonfinite_limit=3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert re.search(r"the updates of [3-5] steps were not finite: D's ", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert events(tmp_path)[0]["signal"] == "nonfinite"


@pytest.mark.slow
def test_a_d_lr_50_times_too_high_exits_3(tmp_path):
    """Real probes and rules, of a healthy run that then collapses."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    options = [
        "--config=quickstart",
        "--config.score.every=0",
        "--config.sample_every=0",
        "--config.stability.every=10",
    ]
    options += ["--config.checkpoint_every=10", "--config.checkpoint_keep=2"]
    done = run("main", f"--workdir={good}", *options, "--config.num_steps=60", limit=1200, XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    harm = [f"--config.init_from={good}", "--config.optimizer.d_lr=0.04", "--config.num_steps=100"]
    done = run("main", f"--workdir={bad}", *options, *harm, limit=1200, XLA_FLAGS="")
    assert done.returncode == 3, done.stderr
    assert (event := events(bad)[0])["signal"] == "d_sigma" and event["step"] <= 40
    assert "the singular values of D's weights explode" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_probes_and_scores_are_recorded_and_the_best_is_kept(config, tmp_path):
    config.num_steps, config.checkpoint_keep = 8, 1
    config.stability.every, config.score.every, config.score.num = 1, 2, 64
    assert train(config, tmp_path)
    probes = jsonl.read(tmp_path, "stability")
    assert [record["step"] for record in probes] == list(range(9))
    scores = {record["step"]: record["signals"]["score"] for record in probes if "score" in record["signals"]}
    assert scores.keys() == {2, 4, 6, 8}
    assert all(
        record["signals"].keys() >= {"score_of_real", "score_accuracy"} for record in probes if record["step"] in scores
    )
    best = min(scores, key=lambda step: (scores[step], -step))
    kept = checkpoint.checkpoint_steps(tmp_path)
    assert {best, 8} <= set(kept) and len(kept) <= 3
    assert {"d_held_out", "pixel_diversity", "d_sigma"} <= probes[0]["signals"].keys()
    assert len(probes[0]["singular"]["generator"]) == len(probes[8]["singular"]["generator"]) > 5
