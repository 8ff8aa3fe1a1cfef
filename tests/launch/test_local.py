"""launch/local.sh: what it would run, and what it refuses; tests/test_multihost.py has what it does."""

import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def local(*arguments, python=sys.executable):
    command = [ROOT / "launch" / "local.sh", *arguments]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin", "PYTHON": python}, capture_output=True, text=True)


def test_a_dry_run_prints_each_process_s_command_with_every_word_whole():
    done = local("--dry-run", "2", "--config=quickstart", '--workdir=it\'s "mine", $HOME', "--config.seed=1")
    assert done.returncode == 0, done.stderr
    first, second = map(shlex.split, done.stdout.splitlines())
    port = first[4].rpartition(":")[2]
    for i, words in enumerate((first, second)):
        cluster = f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={i}"
        given = "--config=quickstart", '--workdir=it\'s "mine", $HOME', "--config.seed=1"
        assert words == [sys.executable, "-m", "biggan_jax.main", "--multihost", *cluster, *given]


@pytest.mark.parametrize(
    ("arguments", "python", "sentence"),
    [
        ([], sys.executable, "how many processes? Such as: "),
        (["0", "--config=quickstart"], sys.executable, "how many processes? Such as: "),
        (["2", "--config=quickstart"], "nowhere/python", "there is no nowhere/python; activate the environment"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, python, sentence):
    done = local(*arguments, python=python)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"local.sh: error: {sentence}") and done.stderr.count("\n") == 1, done.stderr


def test_help_is_the_script_s_head():
    done = local("--help")
    assert done.returncode == 0 and "launch/local.sh [--dry-run] N --config=CONFIG" in done.stdout
