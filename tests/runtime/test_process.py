import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from biggan_jax.runtime import distributed
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="needs /proc")


def wait_for_state(pid, state):
    until = time.monotonic() + 30
    while distributed.process_state(str(pid)) != state:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_state_tells_running_suspended_and_dead_processes():
    assert distributed.process_state(str(os.getpid())) in ("R", "S")
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        wait_for_state(sleeper.pid, "S")
        sleeper.send_signal(signal.SIGSTOP)
        wait_for_state(sleeper.pid, "T")
        sleeper.kill()
        wait_for_state(sleeper.pid, "X")
    assert (
        distributed.process_state(str(sleeper.pid))
        == distributed.process_state("")
        == distributed.process_state("x/../..")
        == ""
    )


CHILD = """
import os, signal, sys
from biggan_jax.runtime import distributed
if distributed.is_child():
    assert "BIGGAN_JAX_CHILD" not in os.environ
    os.write(2, b"shown\\nhidden 1\\nhidden 2\\n")
    signal.pause()
status, withheld = distributed.run_child(lambda line: line.startswith("hidden"))
print(status, repr(withheld))
"""


def start(code):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)


def test_parent_forwards_signals_and_stderr_but_withheld_lines():
    with start(CHILD) as parent:
        assert parent.stderr.readline() == "shown\n"
        parent.terminate()
        out, err = parent.communicate(timeout=60)
    assert (out, err) == (f"{-signal.SIGTERM} 'hidden 1\\nhidden 2\\n'\n", "")


def test_child_ends_with_its_parent():
    code = CHILD.replace('b"shown', 'b"%d" % os.getpid() + b"').replace(
        "signal.pause()", "signal.sigwait([signal.SIGUSR1])"
    )
    with start(code) as parent:
        pid = int(parent.stderr.readline())
        parent.kill()
        until = time.monotonic() + 30
        while distributed.process_state(str(pid)) not in ("", "X"):
            assert time.monotonic() < until
            time.sleep(0.005)
