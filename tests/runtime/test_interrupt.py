"""Real signals to real processes, in the middle of what takes long."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import interrupt
from biggan_jax.runtime.interrupt import Interrupt
from tests.conftest import ROOT
from tests.test_train import TINY, wait_for_metrics

AT_ONCE = 5
"""Seconds, of a machine under load."""

ENDLESS = "--config.num_steps=100000", "--config.checkpoint_every=5"

SLOW_SAVING = (
    "import time; from biggan_jax.checkpoint import Checkpoints; save = Checkpoints.save\n"
    "Checkpoints.save = lambda *args, **more: (print('saving', flush=True), save(*args, **more), time.sleep(5))\n"
)


def start(workdir, *overrides, before="", **environment):
    """The training command, a group of processes of its own, as a shell starts it, with code that runs before."""
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


def ctrl_c(process):
    """As a terminal does: to all processes of the group."""
    os.killpg(process.pid, signal.SIGINT)


def children_of(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_ended_at_once(process, sentence):
    """By a second Ctrl-C just now: status 75, the sentence last, no traceback, no process left."""
    began, children = time.monotonic(), children_of(process.pid)
    stderr = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < AT_ONCE
    assert process.returncode == 75, stderr
    assert re.fullmatch(f"-c: ended at once, without saving; {sentence}", stderr.splitlines()[-1]), stderr
    assert "Traceback" not in stderr and "Error" not in stderr, stderr
    while any(map(alive, children)):
        assert time.monotonic() - began < AT_ONCE, children
        time.sleep(0.05)


def twice(process):
    ctrl_c(process)
    time.sleep(2 * interrupt.ONE_PRESS)
    assert process.poll() is None
    ctrl_c(process)


def test_a_second_ctrl_c_during_a_compilation_ends_at_once(tmp_path):
    process = start(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
    for line in process.stderr:
        if "the first step compiles" in line:
            break
    time.sleep(2)
    twice(process)
    assert_ended_at_once(process, "nothing had been saved before, so the same command begins anew")
    assert not checkpoint_steps(tmp_path)


@pytest.mark.slow
def test_a_second_ctrl_c_during_a_save_ends_at_once_with_its_workers_and_loses_nothing_older(tmp_path):
    process = start(tmp_path, *ENDLESS, "--config.data.workers=2", before=SLOW_SAVING)
    assert process.stdout.readline() == process.stdout.readline() == "saving\n"
    assert len(children_of(process.pid)) >= 2
    saved = checkpoint_steps(tmp_path)
    assert 5 in saved
    twice(process)
    assert_ended_at_once(process, r"the same command goes on from step \d+")
    assert checkpoint_steps(tmp_path) >= saved
    last = max(checkpoint_steps(tmp_path))

    process = start(tmp_path, f"--config.num_steps={last + 1}")
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 0, stderr
    assert f"going on from step {last}" in stderr


@pytest.mark.slow
def test_a_second_sigterm_changes_nothing(tmp_path):
    process = start(tmp_path, "--config.num_steps=100000", "--config.checkpoint_every=100000", before=SLOW_SAVING)
    wait_for_metrics(tmp_path, process)
    process.terminate()
    assert process.stdout.readline() == "saving\n"
    process.terminate()
    process.send_signal(signal.SIGINT)  # The first.
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 75, stderr
    assert stderr.count("SIGTERM: saving after this step") == 2
    (saved,) = checkpoint_steps(tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, saved + 1))


@pytest.mark.slow
def test_one_press_that_comes_on_two_ways_is_one(tmp_path):
    """As through a wrapper that passes signals on, while the terminal sends them to all."""
    patient = "from biggan_jax import interrupt; interrupt.ONE_PRESS = 10"  # For a machine under load.
    process = start(tmp_path, "--config.num_steps=100000", "--config.checkpoint_every=100000", before=patient)
    wait_for_metrics(tmp_path, process)
    ctrl_c(process)
    time.sleep(0.05)  # Two at once would be one for the kernel.
    ctrl_c(process)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 75, stderr
    assert stderr.count("SIGINT (once more ends at once): saving after this step") == 1
    assert "saved in" in stderr.splitlines()[-1]


def test_in_a_notebook_a_second_ctrl_c_is_a_keyboard_interrupt_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt() as wish:
        assert not wish.agreed()
        os.kill(os.getpid(), signal.SIGINT)
        assert wish.agreed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_it_says_at_once_what_a_signal_will_do_though_the_main_thread_is_busy(caplog):
    with Interrupt() as wish:
        os.kill(os.getpid(), signal.SIGTERM)
        while not caplog.records:
            time.sleep(0.01)
        wish.agreed()
        wish.want("a notice")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["SIGTERM: ending before the first step", "a notice: saving after this step"]


def test_training_in_another_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def train():
        with Interrupt() as wish:
            seen.append((signal.getsignal(signal.SIGINT), wish.agreed()))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.parametrize(
    ("last_saved", "sentence"),
    [
        (lambda: 40, "the same command goes on from step 40"),
        (lambda: None, "nothing had been saved before, so the same command begins anew"),
        (lambda: time.sleep(3), "the same command goes on from the last checkpoint"),
        (lambda: 1 / 0, "the same command goes on from the last checkpoint"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_says_from_which_step_the_same_command_goes_on(last_saved, sentence):
    wish = Interrupt()
    wish.last_saved = last_saved
    assert wish._how_to_go_on() == sentence


class Hosts:
    """Two of them, in one process: what the other says, and when both were asked."""

    def __init__(self, monkeypatch, seconds_a_step):
        self.step, self.asked, self.other = 0, [], False
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(interrupt.multihost_utils, "process_allgather", self.gather)
        monkeypatch.setattr(interrupt.time, "monotonic", lambda: self.step * seconds_a_step)

    def gather(self, mine):
        self.asked.append(self.step)
        return np.stack([mine, [self.other, 10]])

    def play(self, wish, steps):
        """The step after which they stop."""
        for self.step in range(steps):
            if wish.agreed():
                return self.step


@pytest.mark.parametrize(("seconds_a_step", "between"), [(0.01, 10), (0.6, 5), (20, 1)])
def test_hosts_ask_each_other_every_ten_steps_or_three_seconds(monkeypatch, seconds_a_step, between):
    hosts = Hosts(monkeypatch, seconds_a_step)
    hosts.play(Interrupt(), 60)
    assert set(np.diff(hosts.asked[2:])) == {between}


def test_a_wish_of_any_host_stops_all(monkeypatch):
    hosts, wish = Hosts(monkeypatch, 0.01), Interrupt()
    assert hosts.play(wish, 15) is None
    hosts.other = True
    assert hosts.play(wish, 15) is not None
    hosts, wish = Hosts(monkeypatch, 0.01), Interrupt()
    wish.want("a notice")
    assert hosts.play(wish, 15) is not None


@pytest.mark.slow
def test_a_second_ctrl_c_to_one_of_several_processes_ends_it_at_once_and_the_others_soon(tmp_path):
    from tests.runtime.test_distributed import BOUND, endings, two_hosts

    with two_hosts(tmp_path, "--config.num_steps=100000", "--config.checkpoint_every=100000") as processes:
        wait_for_metrics(tmp_path, processes[0])
        children = [child for process in processes for child in children_of(process.pid)]
        processes[1].send_signal(signal.SIGINT)
        time.sleep(2 * interrupt.ONE_PRESS)
        processes[1].send_signal(signal.SIGINT)
        ends = endings(processes, BOUND)
    assert [status for status, _ in ends] == [75, 75], ends
    assert all("Traceback" not in text for _, text in ends), ends
    assert not any(map(alive, children))


@pytest.mark.slow
def test_ctrl_c_while_it_waits_for_the_other_processes_is_heard(tmp_path):
    from tests.runtime.test_distributed import two_hosts

    with two_hosts(tmp_path / "run", arrive=[0]) as (process,):
        (port,) = (argument.rpartition(":")[2] for argument in process.args if "coordinator" in argument)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", int(port))):
                break
            assert process.poll() is None
            time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=60)[1]
        assert time.monotonic() - began < AT_ONCE
    assert process.returncode == 130
    assert stderr == "interrupted\n"
