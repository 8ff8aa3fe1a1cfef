"""`make test-all` with stub targets."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "tests" / "all_targets.py"
MAKEFILE = """
test-good:
\t@printf '\\377\\n'; echo '3 passed, 1 skipped in 0.10s'; echo '======= 2 passed, 4 deselected in 1.00s ======='
test-bad:
\t@echo '3 passed, 1 failed in 0.10s'; exit 1
test-slurm:
\t@echo 'SKIPPED [2] tests/launch/test_slurm.py:57: no slurmctld here: apt-get install'; echo '2 skipped, 9 deselected in 0.10s'
test-browser:
\t@echo 'SKIPPED [1] tests/test_page.py:3: no chromium here'; echo '1 skipped in 0.10s'; exit 5
test-colab:
\t@exit 2
test-broken:
\t@exit 2
test-python:
\t@"$(PYTHON)" -m pytest --noconftest -p no:cacheprovider $(OPTIONS) test_two.py
test-while:
\t@PYTEST_ADDOPTS= "$(PYTHON)" "$(SCRIPT)" test-good >other; echo '1 passed in 0.10s'
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the targets, with a Python for Colab that is not there."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    ours = ("AGAIN", "MAKEFLAGS", "MFLAGS", "PYTEST_ADDOPTS", "PASSED_TESTS", "EARLIER_TESTS", "TESTED_COMMIT")
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {
        "COLAB_PYTHON": "python0.0"
    }
    command = [sys.executable, SCRIPT]
    return lambda *targets, **more: subprocess.run(
        [*command, *targets], cwd=tmp_path, env=environment | more, capture_output=True, text=True
    )


def test_each_target_is_a_line_and_a_failure_stops_nothing(run, tmp_path):
    done = run("test-bad", "test-good", "test-broken")
    bad, good, broken, total = done.stdout.splitlines()
    assert bad.split()[:2] == ["test-bad", "failed"] and bad.endswith("see .cache/test-all/test-bad.log")
    assert good.split()[:2] == ["test-good", "passed"] and good.endswith("5 passed, 1 skipped")
    assert broken.split()[:2] == ["test-broken", "failed"]
    assert total == "1 passed, 2 failed, 0 skipped" and done.returncode == 1
    assert "3 passed, 1 failed" in (tmp_path / ".cache" / "test-all" / "test-bad.log").read_text()


def test_a_missing_program_is_a_reason_and_no_failure(run):
    done = run("test-slurm", "test-browser", "test-colab", "test-good")
    slurm, browser, colab, _, total = done.stdout.splitlines()
    assert slurm.split()[1] == "skipped" and slurm.endswith("no slurmctld here: apt-get install")
    assert browser.split()[1] == "skipped" and browser.endswith("no chromium here")
    assert colab.split()[1] == "skipped" and colab.endswith("no python0.0 here")
    assert total == "1 passed, 0 failed, 3 skipped" and done.returncode == 0


@pytest.fixture
def git(tmp_path):
    """Make the folder a repository with one commit; return a function that runs git there."""
    git = lambda *command: subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path)
    (tmp_path / ".gitignore").write_text(".cache\n__pycache__\nother\n")
    git("init", "--quiet"), git("add", "."), git("commit", "--quiet", "--message=first")
    return git


def of_earlier(done):
    """Return for each target whether its result is an earlier call's."""
    return [line.endswith("in an earlier call") for line in done.stdout.splitlines()[:-1]]


def test_what_passed_is_not_run_again_at_the_same_commit(run, git, tmp_path):
    assert of_earlier(run("test-good", "test-bad")) == [False, False]
    again = run("test-good", "test-bad")
    assert of_earlier(again) == [True, False] and "1 passed, 1 failed" in again.stdout and again.returncode == 1
    assert of_earlier(run("test-good", AGAIN="1")) == [False]
    (tmp_path / "Makefile").write_text(MAKEFILE + "\n# Changed.\n")
    assert of_earlier(run("test-good")) == [False], "files differ from the commit"
    git("commit", "--quiet", "--all", "--message=second")
    assert of_earlier(run("test-good")) == [False], "another commit"
    assert of_earlier(run("test-good")) == [True]


@pytest.mark.parametrize("options", ["", pytest.param("-n 2", marks=pytest.mark.slow)])
def test_tests_that_passed_are_not_run_again(run, git, tmp_path, options):
    bad = "import pathlib\n\ndef test_good(): pass\ndef test_bad(): assert pathlib.Path('other').exists()\n"
    (tmp_path / "test_two.py").write_text(bad)
    git("add", "."), git("commit", "--quiet", "--message=tests")
    python = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OPTIONS": options}
    log = tmp_path / ".cache" / "test-all" / "test-python.log"
    assert run("test-python", **python).returncode == 1 and "1 failed, 1 passed" in log.read_text()
    assert run("test-python", **python).returncode == 1 and not re.search("[1-9] passed", log.read_text())
    (tmp_path / "other").write_text("")
    done = run("test-python", **python)
    assert done.returncode == 0 and "  2 passed" in done.stdout and "1 passed" in log.read_text()


def test_what_passes_while_files_are_edited_does_not_count(run, git, tmp_path):
    edits = "import pathlib\n\ndef test_good(): pathlib.Path('edited').touch()\ndef test_bad(): assert False\n"
    (tmp_path / "test_two.py").write_text(edits)
    git("add", "."), git("commit", "--quiet", "--message=tests")
    run("test-python", PYTHON=sys.executable, PYTHONPATH=str(ROOT))
    (tmp_path / "edited").unlink()
    run("test-python", PYTHON=sys.executable, PYTHONPATH=str(ROOT))
    assert "1 failed, 1 passed" in (tmp_path / ".cache" / "test-all" / "test-python.log").read_text()


def test_calls_side_by_side_keep_what_each_has_passed(run, git):
    run("test-while", PYTHON=sys.executable, SCRIPT=str(SCRIPT))
    assert of_earlier(run("test-while", "test-good")) == [True, True]


def test_make_test_all_runs_every_other_test_target():
    command = ["make", "--dry-run", "--no-print-directory", "test-all"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    targets = listed.partition("all_targets.py ")[2].split()
    there = [line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("test")]
    assert sorted([*targets, "test-all"]) == sorted(there) and "test-wheel" in targets
