"""What befalls real processes of the training command: kills, full disks, signals, damage. Each test says what was hit (pytest -s)."""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.checkpoint.restore import is_intact

TINY = pathlib.Path(__file__).parent / "configs" / "tiny.py"


def start(workdir, *overrides, **environment):
    command = [sys.executable, "-m", "biggan_jax.main", f"--config={TINY}", f"--workdir={workdir}"]
    command += [f"--config.{override}" for override in overrides]
    # One device: with eight on a small machine, a round takes as long as its threads wait for each other.
    one_device = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    environment = os.environ | {"XLA_FLAGS": one_device} | environment
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process, status=0, timeout=900):
    """What the process said on stderr; it must end with the status."""
    try:
        said = process.communicate(timeout=timeout)[1]
    finally:
        process.kill()
    assert process.returncode == status, said
    return said


def wait_until(condition, process, timeout=600):
    """Whether it came true while the process lived."""
    until = time.monotonic() + timeout
    while process.poll() is None:
        if condition():
            return True
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)
    return False


def saving(workdir, since=0.0):
    """Whether there is a half-written checkpoint, begun later than `since`: Orbax renames it when it is whole."""
    return any(path.stat().st_ctime > since for path in (workdir / "checkpoints").glob("*tmp*"))


def metrics(workdir):
    file = workdir / "metrics.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []


def size_of_metrics(workdir):
    file = workdir / "metrics.jsonl"
    return file.stat().st_size if file.exists() else 0


@pytest.mark.slow
def test_killed_twenty_times_a_run_loses_nothing(tmp_path, capsys):
    """At twenty moments drawn from a seed, eight of them during a save. The compilation cache is its own: a kill may damage it."""
    rng = random.Random(7)
    # No looks: the newest checkpoint from when a run was seen to be well is kept besides.
    run = ["num_steps=240", "checkpoint_every=4", "checkpoint_keep=3", "checkpoint_keep_every=12", "stability.every=0"]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    finish(start(tmp_path / "unbroken", *run, **cache))
    workdir, before = tmp_path / "run", []
    moments = ["save"] * 8 + ["step"] * 6 + ["any"] * 6
    rng.shuffle(moments)
    hits = collections.Counter()
    for number, moment in enumerate(moments):
        began, lines = time.time(), size_of_metrics(workdir)
        process = start(workdir, *run, **cache)
        if moment == "any":
            delay = rng.uniform(0.2, 9)
            wait_until(lambda until=began + delay: time.time() > until, process)
        else:
            # Not before something is done, or it would never come to an end.
            wait_until(lambda lines=lines: size_of_metrics(workdir) > lines, process)
            time.sleep(rng.uniform(0, 0.4))
            if moment == "save":
                wait_until(lambda began=began: saving(workdir, began), process)
                time.sleep(rng.uniform(0, 0.15))
        process.kill()
        said = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL, said
        steps = checkpoint_steps(workdir)
        hit = "saving" if saving(workdir, began) else "training" if size_of_metrics(workdir) > lines else "starting"
        hits[hit] += 1
        with capsys.disabled():
            print(f"\nkill {number + 1}: {time.time() - began:.1f} s, {hit}; complete: {steps}", end="")
        went_on = re.findall(r"going on from step (\d+)", said)
        assert went_on == [str(before[-1])] if went_on else not before or hit == "starting"
        assert len(steps) >= min(3, len(before)) and steps[-1:] >= before[-1:]
        assert {step for step in before if step % 12 == 0} <= set(steps), "rotated away"
        assert all(is_intact(workdir / "checkpoints" / str(step)) for step in steps), "half a checkpoint"
        before = steps
    assert hits["saving"] >= 6, hits
    finish(start(workdir, *run, **cache))
    assert checkpoint.compare(workdir, tmp_path / "unbroken") == []
    assert metrics(workdir) == list(range(1, 241)), "holes or repeats"
    assert checkpoint_steps(workdir) == sorted({*range(12, 241, 12), 232, 236})
    left = {path.name for path in (workdir / "checkpoints").iterdir()} - {
        str(step) for step in checkpoint_steps(workdir)
    }
    assert not left, "something half-written is left"


RUN = ("num_steps=24", "checkpoint_every=4", "checkpoint_keep=20")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of 24 rounds in one go."""
    workdir = tmp_path_factory.mktemp("unbroken")
    finish(start(workdir, *RUN))
    return workdir


class Disk:
    """A small disk in memory."""

    def __init__(self, path):
        self.path = path

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)

    def fill(self):
        with contextlib.suppress(OSError), open(self.path / "ballast", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", path], check=True)


def assert_told_of_full_disk(said, workdir):
    """In one sentence, without a traceback, with the step from which it does go on."""
    steps = checkpoint_steps(workdir)
    going_on = f"goes on from step {steps[-1]}" if steps else "starts anew, since nothing was saved yet"
    assert f"no room is left to write in {workdir} (" in said and f"the same command {going_on}" in said, said
    assert "Traceback" not in said, said
    assert all(is_intact(workdir / "checkpoints" / str(step)) for step in steps)


@pytest.mark.slow
def test_a_disk_that_fills_up_while_saving_loses_nothing(unbroken, disk, capsys):
    disk.resize("2500k")
    workdir = disk.path / "run"
    said = finish(start(workdir, *RUN), status=2)
    with capsys.disabled():
        print(f"\nfull while saving: {said.splitlines()[-1]}")
    assert_told_of_full_disk(said, workdir)
    assert checkpoint_steps(workdir), "some fit"
    disk.resize("20m")
    assert "going on from step" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []
    assert metrics(workdir) == list(range(1, 25))
    assert checkpoint_steps(workdir) == checkpoint_steps(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "overrides"),
    [
        ("metrics", ["log_every=1", "sample_every=0"]),
        ("samples", ["log_every=1000000", "sample_every=2"]),
    ],
)
def test_a_disk_that_fills_up_while_other_files_are_written_loses_nothing(unbroken, disk, capsys, what, overrides):
    workdir = disk.path / "run"
    finish(start(workdir, *RUN, "num_steps=4"))
    process = start(workdir, "num_steps=1000000", "checkpoint_every=1000000", "checkpoint_keep=20", *overrides)
    samples = lambda: len(list((workdir / "samples").iterdir()))
    assert wait_until(lambda: len(metrics(workdir)) > 4 if what == "metrics" else samples(), process)
    disk.fill()
    said = finish(process, status=2)
    with capsys.disabled():
        print(f"\nfull while writing {what}: {said.splitlines()[-1]}")
    assert_told_of_full_disk(said, workdir)
    assert checkpoint_steps(workdir) == [4]
    (disk.path / "ballast").unlink()
    assert "going on from step 4" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []
    assert metrics(workdir) == list(range(1, 25))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["compiling", "saving"])
def test_a_signal_while_compiling_or_saving_loses_nothing(unbroken, tmp_path, moment, number, capsys):
    workdir = tmp_path / "run"
    cold = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")} if moment == "compiling" else {}
    # No looks: while the first of them compiles, before the first step, a run just ends.
    process = start(workdir, "num_steps=1000000", "stability.every=0", *RUN[1:], **cold)
    if moment == "compiling":
        assert wait_until(lambda: (workdir / "data.json").exists(), process)
        time.sleep(1)
        assert not metrics(workdir), "it compiles"
    else:
        assert wait_until(lambda: saving(workdir), process)
    began = time.monotonic()
    process.send_signal(number)
    said = finish(process, status=75)
    stopped = checkpoint_steps(workdir)[-1]
    with capsys.disabled():
        print(f"\n{number.name} while {moment}: status 75 after {time.monotonic() - began:.1f} s, step {stopped} saved")
    assert "Traceback" not in said and f"step {stopped} of" in said.splitlines()[-1]
    assert metrics(workdir) == list(range(1, stopped + 1))
    assert f"going on from step {stopped}" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []


@pytest.mark.slow
def test_a_damaged_latest_checkpoint_ends_the_run_with_the_step_to_go_on_from(unbroken, tmp_path, capsys):
    workdir = shutil.copytree(unbroken, tmp_path / "run")
    last = workdir / "checkpoints" / "24"
    file = max((last / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    said = finish(start(workdir, *RUN), status=2)
    with capsys.disabled():
        print(f"\nflipped bit: {said.splitlines()[-1]}")
    assert (
        "checkpoints/24 is damaged or incomplete (" in said and "step 20 is whole" in said and "Traceback" not in said
    )
    shutil.rmtree(last)
    assert "going on from step 20" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []
