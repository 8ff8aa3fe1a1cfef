"""The training command as real processes, for tests that signal, suspend and kill them."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from biggan_jax.checkpoint import checkpoint_steps
from tests.conftest import ROOT

TINY = ROOT / "tests" / "configs" / "tiny.py"

ENDLESS = "--config.num_steps=100000", "--config.stability.every=0"
"""Overrides of a run that does not end. Without probes, which take long to compile."""

LIMIT = 240
"""Seconds in which a command must end."""

BOUND = 60
"""Seconds in which the death of a process must end its peers."""


def train(workdir, *overrides, before="", **environment):
    """Start the training command in a process group of its own, as a shell does. `before` is code that runs first."""
    code = f"{before}\nfrom biggan_jax.main import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, f"--config={TINY}", f"--workdir={workdir}", *overrides],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process, timeout=LIMIT):
    """(exit status, stderr) of a process, after its stdin ended."""
    stderr = process.communicate(timeout=timeout)[1]
    return process.returncode, stderr


def wait_until(condition, processes):
    """Wait until `condition()` is true. No process may end before."""
    for _ in range(10 * LIMIT):
        if condition():
            return
        assert all(process.poll() is None for process in processes), [end(process) for process in processes]
        time.sleep(0.1)
    raise AssertionError("it never happened")


def wait_for_metrics(workdir, *processes):
    wait_until((workdir / "metrics.jsonl").exists, processes)


def wait_for_checkpoint(workdir, step, *processes):
    wait_until(lambda: max(checkpoint_steps(workdir), default=0) >= step, processes)


def ctrl_c(process):
    """Send SIGINT to all processes of the group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def children_of(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def four_devices(**more):
    """The environment of a process with four devices."""
    return os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=4"), **more}


@contextlib.contextmanager
def two_hosts(workdir, *overrides, arrive=(0, 1), **more):
    """Start the two processes of a run, or those that `arrive`; kill what is left at the end."""
    shared = f"--config={TINY}", f"--workdir={workdir}", "--config.checkpoint_every=1", *overrides
    shared += "--multihost", f"--coordinator=localhost:{free_port()}", "--num_processes=2"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.recorded", *shared, f"--process_id={i}"],
            cwd=ROOT,
            env=four_devices(**more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in arrive
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def endings(processes, limit=LIMIT):
    """[(exit status, stderr)], after all processes ended."""
    stop = time.monotonic() + limit
    return [end(process, max(stop - time.monotonic(), 1)) for process in processes]
