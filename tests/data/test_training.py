"""Training on a prepared folder of pictures: killed, resumed, interrupted."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from biggan_jax.checkpoint import checkpoint_steps, load_state
from tests.cli import refused, run
from tests.conftest import ROOT, assert_identical
from tests.test_train import TINY

STEPS = 10
"""Steps of 2 x 16 of 72 pictures: four and a half epochs."""


def flags_of(made, workdir):
    return (
        f"--config={TINY}", f"--workdir={workdir}", "--config.data.name=tfds", "--config.data.dataset=",
        f"--config.data.dir={made}", "--config.model.num_classes=3", "--config.checkpoint_every=1",
    )  # fmt: skip


def start(made, workdir, record):
    record.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.recorded", *flags_of(made, workdir), f"--config.num_steps={STEPS}"]
    command += ["--config.data.flip=True", "--config.data.crop=random"]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"RECORD": str(record)}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_killed_at_a_random_step_it_resumes_with_the_same_images(made, tmp_path):
    whole = start(made, tmp_path / "whole", tmp_path / "seen_whole")
    assert whole.wait(timeout=300) == 0, whole.stderr.read()
    kill_at = random.randint(1, STEPS - 3)
    broken = start(made, tmp_path / "broken", tmp_path / "seen_before")
    while broken.poll() is None and max(checkpoint_steps(tmp_path / "broken"), default=0) < kill_at:
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    begun = max(checkpoint_steps(tmp_path / "broken"))
    on = start(made, tmp_path / "broken", tmp_path / "seen_after")
    assert on.wait(timeout=300) == 0, on.stderr.read()

    numbers = range(STEPS)
    seen = {step: np.load(tmp_path / "seen_whole" / f"batch_{step}_0.npz") for step in numbers}
    after = {step: np.load(tmp_path / "seen_after" / f"batch_{step}_0.npz") for step in numbers if step >= begun}
    assert len(after) == STEPS - begun, f"killed at {kill_at}"
    for step, batch in after.items():
        for name in ("image", "label"):
            np.testing.assert_array_equal(batch[name], seen[step][name])
    last = [load_state(tmp_path / name)[0] for name in ("whole", "broken")]
    assert_identical(*last)


def test_a_missing_shard_ends_the_command_with_a_sentence(made, tmp_path):
    gone = sorted(made.glob("*array_record*"))[0]
    gone.unlink()
    refused(run("main", *flags_of(made, tmp_path / "run")), f"1 of 5 shards are missing, the first is {gone}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ctrl_c_to_all_processes_saves_and_ends_them_all(made, tmp_path):
    """Ctrl-C also reaches the workers that read data."""
    flags = *flags_of(made, tmp_path / "run"), "--config.num_steps=100000", "--config.data.workers=2"
    process = subprocess.Popen(
        [sys.executable, "-m", "biggan_jax.main", *flags],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not checkpoint_steps(tmp_path / "run"):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75 and "Traceback" not in err, err
    assert "SIGINT (once more ends at once): saving after this step" in err
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    left = [line for line in map(str.split, listed.splitlines()) if line[0] == str(process.pid) and line[1][0] != "Z"]
    assert not left
