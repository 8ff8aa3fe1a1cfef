"""benchmarks/gpu_check.sh, in its dry run on the CPU."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"


def check(*arguments, **environment):
    import os

    env = os.environ | {"PYTHON": sys.executable} | environment
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, env=env)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((), "give a folder for the results"), (("--gpus=h100", "x"), "--gpus=h100 is unknown; known are --gpu")],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    done = check(*arguments)
    assert done.returncode == 2 and f"gpu_check.sh: error: {sentence}" in done.stderr


@pytest.mark.slow
def test_a_dry_run_runs_every_part_and_reports(tmp_path):
    done = check("--dry-run", str(tmp_path / "out"), XLA_FLAGS="")
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "out" / "report.md").read_text()
    for name in ("device", "golden", "resume", "step", "training"):
        assert f"| {name} | passed |" in report, report
    assert "| MFU |" in report and "digits: agreement" in report
    assert json.loads((tmp_path / "out" / "step.json").read_text())["steps_timed"] == 2
    assert (tmp_path / "out" / "demo" / "samples.png").exists()
    again = check("--dry-run", str(tmp_path / "out"))
    assert again.returncode == 2 and "has results already" in again.stderr
