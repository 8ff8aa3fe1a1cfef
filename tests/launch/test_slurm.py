"""launch/slurm.sh and its job on a real Slurm: submission, ends and requeues."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checkpoint_steps
from tests.conftest import ROOT
from tests.launch.slurm_cluster import MISSING, cluster, said, wait_for
from tests.test_train import TINY

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)} here: apt-get install slurm-wlm munge"),
]

LIMIT = 900
"""Seconds within which a job must end."""

DEMO = (
    "--config=quickstart",
    "--config.num_steps=400",
    "--config.checkpoint_every=20",
    "--config.score.every=0",
    "--config.sample_every=0",
)
"""The demo's recipe with more steps, so that it outlasts Slurm's check of time limits, every 30 s."""

ENDLESS = f"--config={TINY}", "--config.num_steps=100000", "--config.checkpoint_every=20"

TWO_NODES = "--nodes=2", "--gpus-per-node=1", "--time=10"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a user of the cluster: one device per process."""
    compilation = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=8", "")
    with cluster(tmp_path_factory.mktemp("slurm")) as env:
        yield env | {"PYTHON": sys.executable, "XLA_FLAGS": compilation}


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder that all nodes share, with a name that needs quoting; it is also the working folder."""
    folder = tmp_path / 'it\'s "mine", $HOME'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def launch(env, *arguments):
    return subprocess.run([ROOT / "launch" / "slurm.sh", *arguments], env=env, capture_output=True, text=True)


def submitted(env, options, training, workdir) -> tuple[str, pathlib.Path]:
    """Return (job, its log), as printed by the launcher."""
    done = launch(env, *options, "--yes", "--", *training, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    job, log = re.search(r"watch it: squeue --jobs=(\d+); tail -F (.*)", done.stderr).groups()
    assert f"delete it: scancel {job}; checkpoints stay in {workdir}" in done.stderr
    return job, pathlib.Path(subprocess.run(["bash", "-c", f"echo -n {log}"], capture_output=True, text=True).stdout)


def field(env, job, name) -> str:
    return re.search(rf"\b{name}=(\S*)", said(env, "scontrol", "show", "job", job))[1]


def end(env, job) -> tuple[str, int, int]:
    """Wait for the end of the job; return (its last state, its exit status, its number of requeues)."""
    ended = lambda: field(env, job, "JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    wait_for(ended, f"the end of job {job}", LIMIT)
    status = int(field(env, job, "ExitCode").partition(":")[0])
    return field(env, job, "JobState"), status, int(field(env, job, "Restarts"))


def wait_for_step(workdir, step, log):
    wait_for(lambda: max(checkpoint_steps(workdir), default=0) >= step, f"step {step}; see {log}", LIMIT)


def wait_until_queued_again(env, job, times, log):
    wait_for(lambda: int(field(env, job, "Restarts")) >= times, f"queueing again, {times}; see {log}", LIMIT)


@pytest.fixture(scope="module")
def unbroken(slurm, tmp_path_factory):
    """The demo in two processes, without Slurm."""
    workdir = tmp_path_factory.mktemp("unbroken")
    subprocess.run([ROOT / "launch" / "local.sh", "2", *DEMO, f"--workdir={workdir}"], env=slurm, check=True)
    return workdir


def test_a_requeued_run_ends_bit_identical_to_an_unbroken_one(slurm, shared, unbroken):
    workdir = shared / "run"
    job, log = submitted(slurm, TWO_NODES, DEMO, workdir)
    wait_for_step(workdir, 20, log)
    # Slurm sends the warning signal five minutes before the limit.
    said(slurm, "scontrol", "update", f"JobId={job}", "TimeLimit=6")
    wait_until_queued_again(slurm, job, 1, log)
    said(slurm, "scontrol", "update", f"JobId={job}", "TimeLimit=30")
    first = max(checkpoint_steps(workdir))
    text = log.read_text()
    assert "SIGTERM: saving after this step" in text and f"step {first} of 400: saved in" in text, text
    assert f"job {job}: ended with 75" in text, text
    wait_for_step(workdir, first + 20, log)
    said(slurm, "scontrol", "requeue", job)
    assert end(slurm, job) == ("COMPLETED", 0, 2), log.read_text()
    text = log.read_text()
    assert text.count("2 cpu device(s)") == 3 and f"resuming from step {first}" in text, text
    compared = subprocess.run(
        [sys.executable, "-m", "biggan_jax.checkpoint", "compare", workdir, unbroken], capture_output=True, text=True
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert checkpoint.find(workdir).name == "400"


def test_a_cancelled_run_saves_and_is_not_requeued(slurm, shared):
    workdir = shared / "run"
    job, log = submitted(slurm, ("--nodes=1", "--gpus-per-node=2", "--time=10"), ENDLESS, workdir)
    wait_for_step(workdir, 20, log)
    again = launch(slurm, *TWO_NODES, "--", *ENDLESS, "--workdir=run")
    assert again.returncode == 0 and f"job {job} trains in {workdir} already" in again.stderr, again.stderr
    said(slurm, "scancel", job)
    assert end(slurm, job) == ("CANCELLED", 0, 0)
    wait_for(lambda: not said(slurm, "squeue", "--noheader", f"--jobs={job}"), f"job {job} to leave", 60)
    saved = max(checkpoint_steps(workdir))
    assert f"step {saved} of 100000: saved in" in log.read_text(), log.read_text()


def test_a_job_ends_after_max_restarts(slurm, shared):
    job, log = submitted(slurm, (*TWO_NODES, "--max-restarts=0"), ENDLESS, shared / "run")
    wait_for_step(shared / "run", 20, log)
    said(slurm, "scancel", "--signal=TERM", job)
    assert end(slurm, job) == ("FAILED", 75, 0), log.read_text()
    assert "requeued 0 times, the limit of --max-restarts" in log.read_text()


def test_a_collapse_ends_the_job(slurm, shared):
    diverges = "--config.optimizer.d_lr=1e38", "--config.stability.nonfinite_limit=3"
    job, log = submitted(slurm, TWO_NODES, (*ENDLESS, *diverges), shared / "run")
    assert end(slurm, job) == ("FAILED", 3, 0), log.read_text()
    assert f"job {job}: ended with 3" in log.read_text()


def test_a_user_error_ends_the_job_and_is_in_the_log(slurm, shared):
    training = "--config=biggan_cifar10", "--config.data.dir=nowhere", "--config.model.ch=8"
    job, log = submitted(slurm, TWO_NODES, training, shared / "run")
    assert end(slurm, job) == ("FAILED", 2, 0), log.read_text()
    assert len(re.findall(r"^biggan-train: error: .*nowhere", log.read_text(), re.M)) == 2, log.read_text()


def test_the_failed_process_decides_the_status_not_its_peers_75(slurm, shared):
    python = shared / "python"
    python.write_text(
        f'#!/bin/bash\n[[ $SLURM_PROCID != 1 ]] || set -- "$@" --config.loss=none\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    job, log = submitted(slurm | {"PYTHON": str(python)}, TWO_NODES, ENDLESS, shared / "run")
    assert end(slurm, job) == ("FAILED", 2, 0), log.read_text()
    text = log.read_text()
    assert "biggan-train: error: loss 'none'" in text and "biggan-train: process 1 is gone" in text, text
