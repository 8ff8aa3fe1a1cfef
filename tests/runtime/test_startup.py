"""Ctrl-C outside of a command's work: as it imports its libraries, and as the interpreter ends."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests import cli
from tests.conftest import ROOT
from tests.runtime.commands import ENDLESS, TINY, wait_until

INTERRUPTED = 130, "interrupted\n"
CTRL_C = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    print("went on", flush=True)
except BaseException:
    pass
raise SystemExit(0)
"""
"""A library whose import is interrupted, and which drops the KeyboardInterrupt."""


@pytest.fixture
def libraries(tmp_path):
    """The environment of a process whose libraries are CTRL_C."""
    for name in ("absl", "etils", "jax", "ml_collections", "numpy"):
        (tmp_path / f"{name}.py").write_text(CTRL_C)
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


def ended(*arguments, **more):
    """(exit status, stderr) of a Python process, which prints nothing."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT, **more)
    assert not done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", ["main", "data.prepare", "tools.grids", "checkpoint"])
def test_ctrl_c_during_imports_ends_a_module(libraries, module):
    """The packages of some of them import jax. The flags of biggan-checkpoint need no library."""
    arguments = ("check", "a-m") if module == "checkpoint" else ("--workdir=-m",)
    assert ended("-m", f"biggan_jax.{module}", *arguments, env=libraries) == INTERRUPTED


def test_ctrl_c_during_imports_ends_an_installed_command(libraries):
    script = "from biggan_jax.runtime.startup import train; train()"  # As pip writes it.
    assert ended("-c", script, env=libraries) == INTERRUPTED


def test_another_process_that_imports_the_package_keeps_its_ctrl_c(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import signal, biggan_jax; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    theirs = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    assert ended("-m", "theirs", "-m", "biggan_jax.main", env=theirs) == (0, "")


def test_a_command_in_the_background_ignores_ctrl_c(libraries):
    command = f"trap '' INT; exec {sys.executable} -m biggan_jax.main"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=libraries, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, b"went on\n")


def script(path, body):
    """A command in a file, whose main function has this body, and may call `ctrl_c`."""
    path.write_text(
        "import atexit, gc, os, signal\nfrom biggan_jax.runtime import cli\n"
        "def ctrl_c(*_):\n    gc.callbacks.clear()\n    os.kill(os.getpid(), signal.SIGINT)\n"
        f"def main():\n    {body}\ncli.run(main)\n"
    )
    return path


@pytest.mark.parametrize(
    "body",
    [
        "ctrl_c()",
        "gc.callbacks.append(ctrl_c); gc.collect(); signal.pause()",
        "atexit.register(ctrl_c)",
    ],
    ids=["work", "callback", "exit"],
)
def test_ctrl_c_in_a_command_is_never_dropped(tmp_path, body):
    done = cli.run(script(tmp_path / "command.py", body), limit=60)
    assert (done.returncode, done.stderr) == INTERRUPTED


@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "jaxlib", "tensorstore"])
@pytest.mark.parametrize("module", ["main", "sample"])
def test_ctrl_c_ends_a_real_process_as_it_loads_a_library(tmp_path, module, library):
    arguments = f"--config={TINY}", f"--workdir={tmp_path}", *ENDLESS
    if module == "sample":
        arguments = f"--checkpoint={tmp_path}", f"--out={tmp_path / 'grid.png'}"
    command = [sys.executable, "-m", f"biggan_jax.{module}", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        loaded = pathlib.Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: library in loaded.read_text(), [process])
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "interrupted\n")
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())
