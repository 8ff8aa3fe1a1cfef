"""Runs of one and of two processes that are killed at 100 random moments. Each kill prints what it hit (pytest -s)."""

import collections
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.checkpoint.restore import is_intact
from biggan_jax.runtime.cli import RUN_AGAIN
from biggan_jax.runtime.distributed import process_state
from tests.runtime.commands import BOUND, children_of, endings, free_port
from tests.test_faults import TINY, metrics, saving, size_of_metrics

# Without probes no checkpoint is kept as the last healthy one.
RUN = ["checkpoint_every=4", "checkpoint_keep=3", "checkpoint_keep_every=60", "stability.every=0"]
LIMIT = 600
"""Seconds in which a run must get somewhere."""


def start(hosts, workdir, cache, *overrides):
    """Start the processes of a run, each with one device, and all with a compilation cache of their own, which a kill may damage."""
    command = [sys.executable, "-m", "biggan_jax.main", f"--config={TINY}", f"--workdir={workdir}"]
    command += [f"--config.{override}" for override in (*RUN, *overrides)]
    if hosts > 1:
        command += ["--multihost", f"--coordinator=localhost:{free_port()}", f"--num_processes={hosts}"]
    one_device = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    environment = os.environ | {"XLA_FLAGS": one_device, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    number = lambda host: [f"--process_id={host}"] if hosts > 1 else []
    return [subprocess.Popen([*command, *number(host)], **options) for host in range(hosts)]


def run_to_its_end(hosts, *arguments):
    ends = endings(start(hosts, *arguments), LIMIT)
    assert [status for status, _ in ends] == [0] * hosts, ends


def wait_until(condition, processes):
    """Wait until the condition is true, or a process ends."""
    until = time.monotonic() + LIMIT
    while not condition() and all(process.poll() is None for process in processes):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)


def is_there(pid):
    """Whether the process runs: one that has ended, and that nobody waits for, does not."""
    return process_state(str(pid)) not in ("", "X", "Z")


def kill(processes, victims, child):
    """Kill the victims, or the child that trains in each; return each process's end, once no process of the run is left."""
    family = [pid for process in processes for pid in (process.pid, *children_of(process.pid))]
    for victim in victims:
        pid = processes[victim].pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(next(iter(children_of(pid)), pid) if child else pid, signal.SIGKILL)
    ends = endings(processes, BOUND)
    until = time.monotonic() + BOUND
    while any(map(is_there, family)):
        assert time.monotonic() < until, "a process is left"
        time.sleep(0.02)
    return ends


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "kills"), [(1, 70), (2, 30)])
def test_a_run_killed_again_and_again_loses_nothing(tmp_path, capsys, hosts, kills):
    """Four of ten kills hit a save, three a step, three any moment; of two processes one dies, or both, or the child of one."""
    rng = random.Random(7)
    steps = f"num_steps={12 * kills}"
    cache = tmp_path / "cache"
    run_to_its_end(hosts, tmp_path / "unbroken", cache, steps)
    workdir, before, hits = tmp_path / "run", [], collections.Counter()
    moments = (["save"] * 4 + ["step"] * 3 + ["any"] * 3) * (kills // 10)
    rng.shuffle(moments)
    for number, moment in enumerate(moments):
        began, lines = time.time(), size_of_metrics(workdir)
        processes = start(hosts, workdir, cache, steps)
        # A process whose peer has not come waits for it, so at any moment all are killed.
        victims = range(hosts) if moment == "any" else rng.choice([[0], [hosts - 1], range(hosts)])
        if moment == "any":
            until = began + rng.uniform(0.2, 9)
            wait_until(lambda until=until: time.time() > until, processes)
        else:
            # Wait for progress, or the run would never end.
            wait_until(lambda lines=lines: size_of_metrics(workdir) > lines, processes)
            time.sleep(rng.uniform(0, 0.4))
            if moment == "save":
                wait_until(lambda began=began: saving(workdir, began), processes)
                time.sleep(rng.uniform(0, 0.15))
        ends = kill(processes, victims, child=hosts > 1 and rng.random() < 0.5)
        for host, (status, printed) in enumerate(ends):
            killed = -signal.SIGKILL, 128 + signal.SIGKILL  # The second: its child was.
            assert status in (killed if host in victims else (RUN_AGAIN,)), printed
        complete = checkpoint_steps(workdir)
        hit = "saving" if saving(workdir, began) else "training" if size_of_metrics(workdir) > lines else "starting"
        hits[hit] += 1
        with capsys.disabled():
            print(f"\nkill {number + 1}: {time.time() - began:.1f} s, {hit}; complete: {complete[-4:]}", end="")
        resumed = re.findall(r"resuming from step (\d+)", ends[0][1])
        assert resumed == [str(before[-1])] if resumed else not before or hit == "starting"
        assert len(complete) >= min(3, len(before)) and complete[-1:] >= before[-1:]
        assert {step for step in before if step % 60 == 0} <= set(complete), "rotated away"
        assert all(is_intact(workdir / "checkpoints" / str(step)) for step in complete), "a corrupted checkpoint"
        before = complete
    with capsys.disabled():
        print(f"\n{kills} kills of {hosts}: {dict(hits)}")
    assert min(hits["saving"], hits["training"] + hits["starting"]) >= kills // 5, hits
    run_to_its_end(hosts, workdir, cache, steps)
    assert checkpoint.compare(workdir, tmp_path / "unbroken") == []
    assert metrics(workdir) == list(range(1, 12 * kills + 1)), "missing or repeated steps"
    assert checkpoint_steps(workdir) == checkpoint_steps(tmp_path / "unbroken")
    left = {path.name for path in (workdir / "checkpoints").iterdir()} - {
        str(step) for step in checkpoint_steps(workdir)
    }
    assert not left, "partial files are left"
