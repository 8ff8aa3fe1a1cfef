"""launch/slurm.sh where there is no Slurm: what it would submit, what it says that costs, and what it refuses."""

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TRAINING = "--config=quickstart", '--workdir=/shared/it\'s "mine", $HOME', "--config.num_steps=30"


@pytest.fixture
def launch(tmp_path):
    """The launcher, with the programs that any machine has, and no others."""
    for name in ("bash", "dirname", "mktemp", "rm", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name))
    env = {"PATH": str(tmp_path), "PYTHON": sys.executable}
    launcher = ROOT / "launch" / "slurm.sh"
    return lambda *arguments: subprocess.run([launcher, *arguments], env=env, capture_output=True, text=True)


def test_a_dry_run_says_what_it_costs_and_prints_the_submission_with_every_word_whole(launch):
    cluster = "--nodes=2", "--gpus-per-node=h100:4", "--time=1-12", "--partition=a b"
    done = launch(*cluster, "--dry-run", "--", *TRAINING)
    assert done.returncode == 0, done.stderr
    assert "2 x 4 x 1-12, at most 288 GPU-hours" in done.stderr and "until its 30 steps are done" in done.stderr
    ours = "--ntasks-per-node=4", '--job-name=biggan_jax:/shared/it\'s "mine", $HOME'
    job = str(ROOT / "launch" / "slurm.sbatch")
    assert shlex.split(done.stdout) == ["sbatch", "--parsable", *cluster, *ours, job, *TRAINING]


@pytest.mark.parametrize(
    ("options", "training", "sentence"),
    [
        (["--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: --nodes is needed, a number"),
        (["--nodes=1-2", "--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: --nodes is needed, a number"),
        (["--nodes=2", "--time=60"], TRAINING, "slurm.sh: error: --gpus-per-node is needed, a number"),
        (["--nodes=2", "--gpus-per-node=1"], TRAINING, "slurm.sh: error: --time is needed"),
        (["--nodes=2", "--gpus-per-node=1", "--time=day"], TRAINING, "slurm.sh: error: --time=day is not a time"),
        (["--nodes=2", "--gpus-per-node=1", "--time=9:59"], TRAINING, "slurm.sh: error: --time=9:59 is too short"),
        (
            ["--nodes=2", "--gpus-per-node=1", "--time=60"],
            TRAINING[:1],
            "slurm.sh: error: what is trained is said after",
        ),
        (
            ["--nodes=3", "--gpus-per-node=1", "--time=60", "--dry-run"],
            TRAINING,
            "plan: error: batch_size 32 is not divisible by 3 devices; nearest are 30 and 33",
        ),
        (["--nodes=2", "--gpus-per-node=1", "--time=60"], TRAINING, "slurm.sh: error: there is no sbatch here"),
    ],
)
def test_a_mistake_is_one_sentence(launch, options, training, sentence):
    done = launch(*options, "--", *training)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1, done.stderr
