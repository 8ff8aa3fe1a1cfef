import contextlib
import json
import os
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
from biggan_jax.runtime import cli, interrupt
from biggan_jax.runtime.distributed import process_state
from biggan_jax.runtime.interrupt import DEBOUNCE_SECONDS, Interrupt
from tests.conftest import ROOT
from tests.runtime.clock import Clock
from tests.runtime.commands import (
    BOUND,
    ENDLESS,
    children_of,
    ctrl_c,
    end,
    endings,
    train,
    two_hosts,
    wait_for_metrics,
)

AT_ONCE = 5
"""Seconds, on a loaded machine."""


def test_second_ctrl_c_in_a_notebook_raises_keyboard_interrupt():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt() as stop:
        assert not stop.should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_closed_terminal_requests_a_stop_unless_ignored(monkeypatch):
    left = []
    monkeypatch.setattr(interrupt, "_leave_terminal", lambda: left.append(1))
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # These tests may run under nohup themselves.
    try:
        with Interrupt() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.should_stop()
        assert left == [1] and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As under nohup.
        with Interrupt() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.should_stop()
    finally:
        signal.signal(signal.SIGHUP, former)


def test_signal_is_reported_while_the_main_thread_is_busy(caplog):
    with Interrupt() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        while not caplog.records:
            time.sleep(0.001)
        stop.should_stop()
        stop.request("a notice")
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["SIGTERM: ending before the first step", "a notice: saving after this step"]


def test_training_in_another_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def train():
        with Interrupt() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop.should_stop()))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.fixture
def command(monkeypatch):
    """(Interrupt of a command, its clock, how it was ended)."""
    ended, clock, stop = [], Clock(), Interrupt(lambda: 40)
    stop.now = clock.now
    monkeypatch.setattr(cli, "is_command", True)
    monkeypatch.setattr(cli, "end_at_once", lambda *verdict: ended.append(verdict))
    return stop, clock, ended


def test_second_ctrl_c_ends_a_command_but_a_duplicate_does_not(command, caplog):
    stop, clock, ended = command
    stop.should_stop()
    stop._on_signal(signal.SIGINT)
    clock.sleep(DEBOUNCE_SECONDS / 2)
    stop._on_signal(signal.SIGINT)
    assert not ended
    clock.sleep(DEBOUNCE_SECONDS)
    stop._on_signal(signal.SIGINT)
    sentence = "ended at once, without saving; rerun the same command to resume from step 40"
    assert ended == [(sentence, cli.RUN_AGAIN)]
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == "SIGINT (once more ends at once): saving after this step"


def test_second_sigterm_does_not_end_a_command(command):
    stop, clock, ended = command
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        stop._on_signal(number)
        clock.sleep(1)
    assert stop.requested and not ended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_message_says_from_which_step_a_rerun_resumes():
    never = threading.Event()
    for last_saved, sentence in (
        (lambda: 40, "rerun the same command to resume from step 40"),
        (lambda: None, "nothing was saved yet; rerun the same command to start again"),
        (never.wait, "rerun the same command to resume from the last checkpoint"),
        (lambda: 1 / 0, "rerun the same command to resume from the last checkpoint"),
    ):
        assert Interrupt(last_saved)._how_to_resume(timeout=0.1 if last_saved == never.wait else 30) == sentence
    never.set()


class Hosts:
    """Two hosts in one process: the other's answer, and the steps at which both exchange answers."""

    def __init__(self, monkeypatch, seconds_per_step):
        self.step, self.exchanges, self.other = 0, [], False
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(interrupt.multihost_utils, "process_allgather", self.gather)
        monkeypatch.setattr(Interrupt, "now", lambda _: self.step * seconds_per_step)

    def gather(self, mine):
        self.exchanges.append(self.step)
        return np.stack([mine, [self.other, 10]])

    def train(self, stop, steps):
        """Return the step after which the hosts stop."""
        for self.step in range(steps):
            if stop.should_stop():
                return self.step


@pytest.mark.parametrize(("seconds_per_step", "between"), [(0.01, 10), (0.6, 5), (20, 1)])
def test_hosts_exchange_answers_every_ten_steps_or_three_seconds(monkeypatch, seconds_per_step, between):
    hosts = Hosts(monkeypatch, seconds_per_step)
    hosts.train(Interrupt(), 60)
    assert set(np.diff(hosts.exchanges[2:])) == {between}


def test_a_request_on_any_host_stops_all(monkeypatch):
    hosts, stop = Hosts(monkeypatch, 0.01), Interrupt()
    assert hosts.train(stop, 15) is None
    hosts.other = True
    assert hosts.train(stop, 15) is not None
    hosts, stop = Hosts(monkeypatch, 0.01), Interrupt()
    stop.request("a notice")
    assert hosts.train(stop, 15) is not None


# Real processes.


def test_second_ctrl_c_ends_a_process_that_is_busy_in_c():
    busy = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
    code = (
        "from biggan_jax.runtime import cli; from biggan_jax.runtime.interrupt import Interrupt\n"
        "cli.is_command = True; cli.log_to_stderr(); Interrupt(lambda: 7).__enter__()\n"
        f"print('busy', flush=True); {busy}"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "busy\n"
        ctrl_c(process)
        assert "SIGINT (once more ends at once): ending before the first step" in process.stderr.readline()
        time.sleep(2 * DEBOUNCE_SECONDS)
        ctrl_c(process)
        assert_ended_at_once(process, "rerun the same command to resume from step 7", program="-c")


SLOW_SAVING = (
    "import time; from biggan_jax.checkpoint import Checkpoints; save = Checkpoints.save\n"
    "Checkpoints.save = lambda *args, **more: (print('saving', flush=True), save(*args, **more), time.sleep(5))\n"
)


def alive(pid):
    return process_state(str(pid)) not in ("", "X")


def assert_ended_at_once(process, sentence, program="biggan-train"):
    """Assert that a second Ctrl-C ended the command: status 75, the sentence last, no traceback, no process left."""
    began, children = time.monotonic(), children_of(process.pid)
    status, stderr = end(process, 60)
    assert time.monotonic() - began < AT_ONCE
    assert status == 75, stderr
    assert re.fullmatch(f"{program}: ended at once, without saving; {sentence}", stderr.splitlines()[-1]), stderr
    assert "Traceback" not in stderr and "Error" not in stderr, stderr
    while any(map(alive, children)):
        assert time.monotonic() - began < AT_ONCE, children
        time.sleep(0.05)


def twice(process):
    ctrl_c(process)
    time.sleep(2 * DEBOUNCE_SECONDS)
    assert process.poll() is None
    ctrl_c(process)


@pytest.mark.slow
def test_second_ctrl_c_during_a_compilation_ends_at_once(tmp_path):
    process = train(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
    for line in process.stderr:
        if "the first step compiles" in line:
            break
    time.sleep(2)
    twice(process)
    assert_ended_at_once(process, "nothing was saved yet; rerun the same command to start again")
    assert not checkpoint_steps(tmp_path)


@pytest.mark.slow
def test_second_ctrl_c_during_a_save_loses_no_older_checkpoint(tmp_path):
    process = train(tmp_path, *ENDLESS, "--config.checkpoint_every=5", "--config.data.workers=2", before=SLOW_SAVING)
    assert process.stdout.readline() == process.stdout.readline() == "saving\n"
    assert len(children_of(process.pid)) >= 2
    saved = checkpoint_steps(tmp_path)
    assert 5 in saved
    twice(process)
    assert_ended_at_once(process, r"rerun the same command to resume from step \d+")
    assert checkpoint_steps(tmp_path) >= saved
    last = max(checkpoint_steps(tmp_path))

    status, stderr = end(train(tmp_path, f"--config.num_steps={last + 1}"))
    assert status == 0, stderr
    assert f"from step {last}" in stderr


UNSAVED = "--config.checkpoint_every=100000"


@pytest.mark.slow
def test_second_sigterm_to_training_changes_nothing(tmp_path):
    process = train(tmp_path, *ENDLESS, UNSAVED, before=SLOW_SAVING)
    wait_for_metrics(tmp_path, process)
    process.terminate()
    assert process.stdout.readline() == "saving\n"
    process.terminate()
    process.send_signal(signal.SIGINT)  # The first.
    status, stderr = end(process, 60)
    assert status == 75, stderr
    assert stderr.count("SIGTERM: saving after this step") == 2
    (saved,) = checkpoint_steps(tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, saved + 1))


@pytest.mark.slow
def test_duplicate_sigint_of_one_ctrl_c_saves(tmp_path):
    """For example, a wrapper forwards a signal that the terminal also sends to all processes."""
    patient = "from biggan_jax.runtime import interrupt; interrupt.DEBOUNCE_SECONDS = 10"  # For a loaded machine.
    process = train(tmp_path, *ENDLESS, UNSAVED, before=patient)
    wait_for_metrics(tmp_path, process)
    ctrl_c(process)
    time.sleep(0.05)  # The kernel merges simultaneous signals.
    ctrl_c(process)
    status, stderr = end(process, 60)
    assert status == 75, stderr
    assert stderr.count("SIGINT (once more ends at once): saving after this step") == 1
    assert "saved in" in stderr.splitlines()[-1]


@pytest.mark.slow
def test_second_ctrl_c_to_one_of_several_processes_ends_all(tmp_path):
    with two_hosts(tmp_path, *ENDLESS, UNSAVED) as processes:
        wait_for_metrics(tmp_path, *processes)
        children = [child for process in processes for child in children_of(process.pid)]
        processes[1].send_signal(signal.SIGINT)
        time.sleep(2 * DEBOUNCE_SECONDS)
        processes[1].send_signal(signal.SIGINT)
        ends = endings(processes, BOUND)
    assert [status for status, _ in ends] == [75, 75], ends
    assert all("Traceback" not in text for _, text in ends), ends
    assert not any(map(alive, children))


@pytest.mark.slow
def test_ctrl_c_during_the_wait_for_other_processes_is_heard(tmp_path):
    with two_hosts(tmp_path / "run", arrive=[0]) as (process,):
        (port,) = (argument.rpartition(":")[2] for argument in process.args if "coordinator" in argument)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", int(port))):
                break
            assert process.poll() is None
            time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        status, stderr = end(process, 60)
        assert time.monotonic() - began < AT_ONCE
    assert (status, stderr) == (130, "interrupted\n")
