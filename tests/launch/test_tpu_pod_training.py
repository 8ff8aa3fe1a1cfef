"""launch/tpu_pod.sh with real training on its workers: two processes are preempted and resume on another slice."""

import os
import re
import socket
import subprocess
import sys

import pytest

from tests.launch.rig import PREEMPTED, ROOT, executable

pytestmark = pytest.mark.slow

TRAINING = ["--config=quickstart", "--config.num_steps=100", "--config.checkpoint_every=20", "--config.sample_every=0"]
# Flags give the coordinator and process numbers, which real slices detect; the bucket is a folder.
WORKERS_TRAINER = """#!/bin/bash
port=$(({port} + $(grep -c '"create"' "$CLOUD/calls.jsonl")))
exec {python} "${{@//gs:\\/\\/bucket/$CLOUD/bucket}}" --coordinator="localhost:$port" --num_processes="$WORKERS" --process_id="$WORKER"
"""


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def test_a_preempted_run_ends_bit_identical_to_an_unbroken_one(rig):
    r = rig(lives=[PREEMPTED, ["ACTIVE"]], active_until="bucket/run/checkpoints/20")
    executable(r.cloud / "trainer", WORKERS_TRAINER.format(port=free_port(), python=sys.executable))
    r.environment["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    command = r.command("train", "--poll=2", training=[*TRAINING, "--workdir=gs://bucket/run"])
    done = subprocess.run(command, cwd=r.folder, env=r.environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "the slice or one of its workers is gone; again (1 of at most 100)" in done.stderr
    assert len(r.calls("queued-resources create")) == 2
    assert re.search("resuming from step [2468]0", r.logs()["0.log"]) and r.slice is None

    unbroken = r.folder / "unbroken"
    environment = r.environment | {"PYTHON": sys.executable}
    subprocess.run([ROOT / "launch" / "local.sh", "2", *TRAINING, f"--workdir={unbroken}"], env=environment, check=True)
    compare = [sys.executable, "-m", "biggan_jax.checkpoint", "compare", r.cloud / "bucket" / "run", unbroken]
    same = subprocess.run(compare, capture_output=True, text=True)
    assert same.returncode == 0, same.stdout + same.stderr
