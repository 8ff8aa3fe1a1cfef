"""launch/local.sh: dry runs, refusals and exit statuses; tests/runtime/test_distributed.py runs it."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.launch.rig import wait_until


def local(*arguments, python=sys.executable):
    command = [ROOT / "launch" / "local.sh", *arguments]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin", "PYTHON": python}, capture_output=True, text=True)


def test_a_dry_run_prints_the_quoted_command_of_each_process():
    done = local("--dry-run", "2", "--config=quickstart", '--workdir=it\'s "mine", $HOME', "--config.seed=1")
    assert done.returncode == 0, done.stderr
    first, second = map(shlex.split, done.stdout.splitlines())
    port = first[4].rpartition(":")[2]
    for i, words in enumerate((first, second)):
        cluster = f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={i}"
        given = "--config=quickstart", '--workdir=it\'s "mine", $HOME', "--config.seed=1"
        assert words == [
            sys.executable,
            "-m",
            "biggan_jax.main",
            "--multihost",
            *cluster,
            "--on_damage=fallback",
            *given,
        ]


@pytest.mark.parametrize(
    ("arguments", "python", "sentence"),
    [
        ([], sys.executable, "how many processes? Such as: "),
        (["0", "--config=quickstart"], sys.executable, "how many processes? Such as: "),
        (["2", "--config=quickstart"], "nowhere/python", "nowhere/python is missing; activate the environment"),
    ],
)
def test_a_user_error_is_one_sentence(arguments, python, sentence):
    done = local(*arguments, python=python)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"local.sh: error: {sentence}") and done.stderr.count("\n") == 1, done.stderr


STAND_IN = """#!/bin/bash
[[ $1 == -c ]] && exec {python} "$@"
exec {python} -c "{program}" "$@"
"""


def stopped(tmp_path, program, signal_):
    """Run the launcher with a Python that runs `program`; send it the signal when both processes have started."""
    python = tmp_path / "python"
    begun = f"import pathlib, os, sys, time; pathlib.Path('{tmp_path}', str(os.getpid())).touch(); "
    python.write_text(STAND_IN.format(python=sys.executable, program=begun + program))
    python.chmod(0o755)
    command = [ROOT / "launch" / "local.sh", "2", "--config=quickstart"]
    # A background job of a shell ignores Ctrl-C, and its children inherit that.
    heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"PYTHON": str(python)}
    launcher = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
    launcher.send_signal(signal_)
    _, text = launcher.communicate(timeout=60)
    return launcher.returncode, text


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_signal_handlers_exist_exits_with_75(tmp_path, signal_):
    status, text = stopped(tmp_path, "time.sleep(60)", signal_)
    assert status == 75 and text.endswith("local.sh: interrupted; rerun the same command to resume\n"), text


def test_a_process_that_fails_beside_a_stopped_one_counts(tmp_path):
    status, text = stopped(tmp_path, "time.sleep(60) if '--process_id=0' in sys.argv else os._exit(2)", signal.SIGTERM)
    assert status == 2 and "rerun the same command" not in text, text


def test_help_is_the_comment_at_the_head():
    done = local("--help")
    assert done.returncode == 0 and "launch/local.sh [--dry-run] N --config=CONFIG" in done.stdout


def test_the_python_is_python3_unless_another_is_named():
    command = [ROOT / "launch" / "local.sh", "--dry-run", "1", "--config=quickstart"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.stdout.startswith("python3 -m biggan_jax.main "), done.stderr
