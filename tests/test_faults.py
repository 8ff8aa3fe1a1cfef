"""Faults of real training processes: full disks, signals, corruption. Each test prints what was hit (pytest -s)."""

import contextlib
import json
import os
import pathlib
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
    # One device: with eight on a small machine, the threads of a step wait for each other.
    one_device = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    environment = os.environ | {"XLA_FLAGS": one_device} | environment
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process, status=0, timeout=900):
    """Wait for the process, assert its exit status and return what it printed on stderr."""
    try:
        printed = process.communicate(timeout=timeout)[1]
    finally:
        process.kill()
    assert process.returncode == status, printed
    return printed


def wait_until(condition, process, timeout=600):
    """Wait until the condition is true and return True; False if the process ends before."""
    until = time.monotonic() + timeout
    while process.poll() is None:
        if condition():
            return True
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)
    return False


def saving(workdir, since=0.0):
    """Whether there is a partial checkpoint, begun after `since`: Orbax renames it when it is complete."""
    return any(path.stat().st_ctime > since for path in (workdir / "checkpoints").glob("*tmp*"))


def metrics(workdir):
    file = workdir / "metrics.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []


def size_of_metrics(workdir):
    file = workdir / "metrics.jsonl"
    return file.stat().st_size if file.exists() else 0


@pytest.mark.slow
def test_an_adapted_probability_of_augmentation_survives_kills(tmp_path):
    ada = ["augment.ada=blit,geometry,colour", "augment.target=0.6", "augment.speed=200", "augment.every=1"]
    run = [*ada, "num_steps=24", "checkpoint_every=4", "checkpoint_keep=20", "stability.every=0"]
    finish(start(tmp_path / "unbroken", *run))
    workdir = tmp_path / "run"
    for steps in (4, 12):
        process = start(workdir, *run)
        wait_until(lambda steps=steps: max(checkpoint_steps(workdir), default=0) >= steps, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(workdir, *run))
    assert checkpoint.compare(workdir, tmp_path / "unbroken") == []
    seen = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    p = {record["step"]: record["augment_p"] for record in seen}
    assert len(p) == 24 and len(set(p.values())) > 3


RUN = ("num_steps=24", "checkpoint_every=4", "checkpoint_keep=20")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of 24 steps in one go."""
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
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", path], check=True)


def assert_reports_full_disk(printed, workdir):
    """One sentence without a traceback that names the saved step."""
    steps = checkpoint_steps(workdir)
    saved = f"rerun the same command; step {steps[-1]} is saved" if steps else "rerun the same command"
    assert f"no room is left to write in {workdir} (" in printed and saved in printed, printed
    assert "Traceback" not in printed, printed
    assert all(is_intact(workdir / "checkpoints" / str(step)) for step in steps)


@pytest.mark.slow
def test_a_full_disk_while_saving_loses_nothing(unbroken, disk, capsys):
    disk.resize("2500k")
    workdir = disk.path / "run"
    printed = finish(start(workdir, *RUN), status=2)
    with capsys.disabled():
        print(f"\nfull while saving: {printed.splitlines()[-1]}")
    assert_reports_full_disk(printed, workdir)
    assert checkpoint_steps(workdir), "some fit"
    disk.resize("20m")
    assert "resuming from step" in finish(start(workdir, *RUN))
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
def test_a_full_disk_while_logging_loses_nothing(unbroken, disk, capsys, what, overrides):
    workdir = disk.path / "run"
    finish(start(workdir, *RUN, "num_steps=4"))
    process = start(workdir, "num_steps=1000000", "checkpoint_every=1000000", "checkpoint_keep=20", *overrides)
    samples = lambda: len(list((workdir / "samples").iterdir()))
    assert wait_until(lambda: len(metrics(workdir)) > 4 if what == "metrics" else samples(), process)
    disk.fill()
    printed = finish(process, status=2)
    with capsys.disabled():
        print(f"\nfull while writing {what}: {printed.splitlines()[-1]}")
    assert_reports_full_disk(printed, workdir)
    assert checkpoint_steps(workdir) == [4]
    (disk.path / "ballast").unlink()
    assert "resuming from step 4" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []
    assert metrics(workdir) == list(range(1, 25))


def assert_interrupted(printed, workdir, reason):
    """One sentence without a traceback, for which a launcher starts the run again."""
    last = printed.splitlines()[-1]
    assert f"training ended, since {workdir} cannot be used any more (" in last and reason in last, printed
    assert "Traceback" not in printed, printed


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_ends_with_75(tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, "num_steps=1000000", "checkpoint_every=4", "checkpoint_keep=20", "log_every=1")
    assert wait_until(lambda: checkpoint_steps(workdir), process)
    folders = [workdir, workdir / "checkpoints"]
    # A disk with open files cannot be mounted read-only.
    if subprocess.run(["chattr", "+i", *folders], capture_output=True).returncode:
        process.kill()
        pytest.skip("chattr +i is refused here")
    try:
        printed = finish(process, status=75)
    finally:
        subprocess.run(["chattr", "-i", *folders], check=True)
    assert_interrupted(printed, workdir, "Operation not permitted")
    steps = checkpoint_steps(workdir)
    assert f"step {steps[-1]} is saved; rerun the same command" in printed
    assert f"resuming from step {steps[-1]}" in finish(start(workdir, *RUN, f"num_steps={steps[-1] + 1}"))


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 1000000])
def test_a_folder_that_vanishes_ends_with_75(tmp_path, every):
    workdir = tmp_path / "run"
    process = start(workdir, "num_steps=1000000", f"checkpoint_every={every}", "log_every=1", "sample_every=3")
    assert wait_until(lambda: len(metrics(workdir)) > 6, process)
    workdir.rename(tmp_path / "elsewhere")
    assert_interrupted(finish(process, status=75), workdir, "No such file or directory")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["compiling", "saving"])
def test_a_signal_while_compiling_or_saving_loses_nothing(unbroken, tmp_path, moment, number, capsys):
    workdir = tmp_path / "run"
    cold = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")} if moment == "compiling" else {}
    # Without probes: while the first of them compiles, before the first step, a signal just ends the run.
    process = start(workdir, "num_steps=1000000", "stability.every=0", *RUN[1:], **cold)
    if moment == "compiling":
        assert wait_until(lambda: (workdir / "data.json").exists(), process)
        time.sleep(1)
        assert not metrics(workdir), "it compiles"
    else:
        assert wait_until(lambda: saving(workdir), process)
    began = time.monotonic()
    process.send_signal(number)
    printed = finish(process, status=75)
    # On a busy machine the signal comes before the first step compiles: then the run begins anew.
    stopped = max(checkpoint_steps(workdir), default=0)
    assert stopped or moment == "compiling"
    with capsys.disabled():
        print(f"\n{number.name} while {moment}: status 75 after {time.monotonic() - began:.1f} s, step {stopped} saved")
    assert "Traceback" not in printed
    assert metrics(workdir) == list(range(1, stopped + 1))
    resumed = finish(start(workdir, *RUN))
    if stopped:
        assert f"step {stopped} of" in printed.splitlines()[-1] and f"resuming from step {stopped}" in resumed
    assert checkpoint.compare(workdir, unbroken) == []


@pytest.mark.slow
def test_a_corrupted_latest_checkpoint_names_the_step_to_resume(unbroken, tmp_path, capsys):
    workdir = shutil.copytree(unbroken, tmp_path / "run")
    last = workdir / "checkpoints" / "24"
    # In every file, since threads decide which of them holds the arrays.
    for file in (last / "state").rglob("d/*"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    printed = finish(start(workdir, *RUN), status=2)
    with capsys.disabled():
        print(f"\nflipped bit: {printed.splitlines()[-1]}")
    assert (
        "checkpoints/24 is damaged or incomplete (" in printed
        and "step 20 is whole" in printed
        and "Traceback" not in printed
    )
    shutil.rmtree(last)
    assert "resuming from step 20" in finish(start(workdir, *RUN))
    assert checkpoint.compare(workdir, unbroken) == []
