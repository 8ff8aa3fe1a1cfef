"""launch/slurm.sh without Slurm: the submission, its cost, and refusals."""

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TRAINING = "--config=quickstart", '--workdir=/shared/it\'s "mine", $HOME', "--config.num_steps=30"


@pytest.fixture
def launch(tmp_path):
    """Return a function that runs the launcher with basic programs alone on the PATH."""
    for name in ("bash", "dirname", "mktemp", "rm", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name))
    env = {"PATH": str(tmp_path), "PYTHON": sys.executable}
    launcher = ROOT / "launch" / "slurm.sh"
    return lambda *arguments, **more: subprocess.run(
        [launcher, *arguments], env=env | more, capture_output=True, text=True
    )


def test_a_dry_run_prints_the_cost_and_the_quoted_submission(launch, tmp_path):
    cluster = "--nodes=2", "--gpus-per-node=h100:4", "--time=1-12", "--partition=a b"
    done = launch(*cluster, "--max-restarts=7", "--dry-run", "--", *TRAINING, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "2 x 4 x 1-12, at most 288 GPU-hours" in done.stderr and "until its 30 steps are done" in done.stderr
    ours = "--ntasks-per-node=4", '--job-name=biggan_jax:/shared/it\'s "mine", $HOME'
    job = str(ROOT / "launch" / "slurm.sbatch")
    submission = ["sbatch", "--parsable", *cluster, *ours, job, "--max-restarts=7", *TRAINING]
    assert shlex.split(done.stdout) == submission  # Restarts are the job's.
    assert not list(tmp_path.glob("tmp.*"))


def test_a_failed_plan_leaves_no_files(launch, tmp_path):
    cluster = "--nodes=3", "--gpus-per-node=1", "--time=60", "--dry-run"
    done = launch(*cluster, "--", *TRAINING, TMPDIR=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert not list(tmp_path.glob("tmp.*"))


@pytest.fixture
def job(tmp_path):
    """job(status, ...) runs launch/slurm.sbatch with an srun that exits with that status and a scontrol that records its calls."""
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "${@: -3}" >"$FOLDER/trained"\nexit "$STATUS"\n')
    (tmp_path / "scontrol").write_text('#!/bin/bash\necho "$@" >"$FOLDER/asked"\nexit "${REFUSED:-0}"\n')
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)

    def run(status, *words, **environment):
        (tmp_path / "asked").write_text("")
        base = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "FOLDER": str(tmp_path),
            "SLURM_JOB_ID": "5",
            "STATUS": str(status),
        }
        command = [ROOT / "launch" / "slurm.sbatch", *words, *TRAINING[:2]]
        done = subprocess.run(command, env=base | environment, capture_output=True, text=True)
        assert (tmp_path / "trained").read_text().splitlines() == ["--on_damage=fallback", *TRAINING[:2]]
        return done.returncode, (tmp_path / "asked").read_text(), done.stdout

    return run


STOPPED = 1
"""75, as swapped on the way through srun."""


def test_a_job_requeues_itself_at_most_max_restarts_times(job):
    assert job(STOPPED) == (75, "requeue 5\n", "job 5: ended with 75\n")
    assert job(STOPPED, "--max-restarts=7", SLURM_RESTART_COUNT="6")[:2] == (75, "requeue 5\n")
    status, asked, text = job(STOPPED, "--max-restarts=7", SLURM_RESTART_COUNT="7")
    assert (status, asked) == (75, "") and "was requeued 7 times, the limit of --max-restarts" in text
    assert job(STOPPED, SLURM_RESTART_COUNT="99")[1] and not job(STOPPED, SLURM_RESTART_COUNT="100")[1]
    assert job(3) == (3, "", "job 5: ended with 3\n")


def test_a_refused_requeue_is_reported(job):
    status, asked, text = job(STOPPED, REFUSED="1")
    assert (status, asked) == (75, "requeue 5\n") and "job 5: Slurm refuses to requeue it" in text


@pytest.mark.parametrize(
    ("options", "training", "sentence"),
    [
        (["--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: --nodes is needed, a number"),
        (["--nodes=1-2", "--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: --nodes is needed, a number"),
        (["--nodes=2", "--time=60"], TRAINING, "slurm.sh: error: --gpus-per-node is needed, a number"),
        (["--nodes=2", "--gpus-per-node=1"], TRAINING, "slurm.sh: error: --time is needed"),
        (["--max-restarts=x"], TRAINING, "slurm.sh: error: --max-restarts=x is not a number"),
        (["--nodes=2", "--gpus-per-node=1", "--time=day"], TRAINING, "slurm.sh: error: --time=day is not a time"),
        (["--nodes=2", "--gpus-per-node=1", "--time=9:59"], TRAINING, "slurm.sh: error: --time=9:59 is too short"),
        (
            ["--nodes=2", "--gpus-per-node=1", "--time=60"],
            TRAINING[:1],
            "slurm.sh: error: the options of training go after",
        ),
        (
            ["--nodes=3", "--gpus-per-node=1", "--time=60", "--dry-run"],
            TRAINING,
            "biggan-plan: error: batch_size 32 is not divisible by 3 devices; nearest are 30 and 33",
        ),
        (["--nodes=2", "--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: sbatch is missing"),
    ],
)
def test_a_user_error_is_one_sentence(launch, options, training, sentence):
    done = launch(*options, "--", *training)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1, done.stderr


def test_a_gpu_s_name_asks_the_planner_before_submitting(launch, tmp_path):
    planner = tmp_path / "python"
    planner.write_text(
        '#!/bin/bash\ncase "$*" in\n'
        '  *--topology=*) echo "$*" >"$ASKED"; echo "h100:2x4: a line"; exit "$STATUS" ;;\n'
        '  *--json=*) echo 30 >"$(sed -E "s/.*--json=([^ ]+).*/\\1/" <<<"$*")" ;;\n  *) echo 30 ;;\nesac\n'
    )
    planner.chmod(0o755)
    cluster = "--nodes=2", "--gpus-per-node=4", "--time=60", "--gpu=h100", "--dry-run"
    for status, anyway, ended in ((0, (), 0), (1, (), 2), (1, ("--anyway",), 0), (2, (), 2), (137, (), 2)):
        asked = {"PYTHON": str(planner), "ASKED": str(tmp_path / "asked"), "STATUS": str(status)}
        done = launch(*cluster, *anyway, "--", *TRAINING, **asked)
        assert done.returncode == ended, (status, done.stderr)
        assert ("sbatch" in done.stdout) == (ended == 0) and "--gpu=" not in done.stdout
        assert status > 1 or "h100:2x4: a line" in done.stderr
    assert "--brief --topology=h100:2x4 --config=quickstart" in (tmp_path / "asked").read_text()
