"""Another machine is a running.json whose OS lock is unknown here; a dead process is an OS lock that was released."""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import fsspec
import jax
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import cli, distributed, files, workdir_lock
from biggan_jax.runtime.workdir_lock import FILE, HEARTBEAT_SECONDS, WorkdirLock
from biggan_jax.types import UserError
from tests.conftest import ROOT, untrained_run
from tests.runtime import commands
from tests.runtime.clock import Clock

IN_USE = (
    r"is in use by another run: process (\d+) on \S+, since 20[^;]* UTC; wait until it has ended, or use another folder"
)
TAKEN = "another run has taken .* on far-away, .* ends without writing any more"
PATIENCE = 35
"""Seconds without a heartbeat after which a run on another machine is presumed dead."""


class Bucket(MemoryFileSystem):
    """An object store in memory, under gs://."""

    protocol = ("gs", "gcs")
    store, pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("gs://", "memory://").replace("gcs://", "memory://"))


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    """A workdir that does not exist yet, on a disk and in an object store."""
    if request.param == "disk":
        yield epath.Path(tmp_path / "run")
        return
    fsspec.register_implementation("gcs", Bucket, clobber=True)
    yield epath.Path(f"gs://{tmp_path.name}/run")
    Bucket.store.clear()


@pytest.fixture
def clock(monkeypatch):
    """The clock of all locks; no heartbeat thread runs."""
    clock = Clock()
    monkeypatch.setattr(WorkdirLock, "now", clock.now)
    monkeypatch.setattr(WorkdirLock, "sleep", clock.sleep)
    monkeypatch.setattr(WorkdirLock, "_keep_alive", lambda self: None)
    return clock


@pytest.fixture
def no_os_locks(monkeypatch):
    """Simulate a separate machine for each lock object."""
    monkeypatch.setattr(files.OSLock, "acquire", lambda self: setattr(self, "id", str(id(self))) or True)


def lay(folder, **changes):
    """Write the running.json of a run on another machine."""
    lock = WorkdirLock(folder)
    lock._os_lock.id = "elsewhere:1:1"
    folder.mkdir(parents=True, exist_ok=True)
    lock._write("")
    path = folder / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "far-away"} | changes))
    return path


def renew(path):
    """Renew running.json as another machine does."""
    if files.is_remote(path):
        path.write_text(path.read_text() + " ")
    else:
        os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))


def die(lock):
    """Release the OS lock as the kernel does when a process dies."""
    lock._os_lock._file.close()


def of(path):
    return json.loads(path.read_text())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "written"}


def test_second_run_is_refused_and_changes_nothing(folder, clock):
    with WorkdirLock(folder):
        before = (folder / FILE).read_bytes()
        with pytest.raises(UserError, match=f"{folder} {IN_USE}") as refused:
            WorkdirLock(folder).__enter__()
        assert re.search(IN_USE, str(refused.value))[1] == str(os.getpid())
        assert [path.name for path in folder.iterdir()] == [FILE] and (folder / FILE).read_bytes() == before
    with WorkdirLock(folder) as lock:
        assert lock.owned


def test_lock_is_removed_at_exit_and_on_errors(folder, clock):
    with pytest.raises(RuntimeError), WorkdirLock(folder) as lock:
        assert of(folder / FILE)["pid"] == os.getpid()
        assert lock._os_lock._path.exists()
        raise RuntimeError
    assert not list(folder.iterdir())
    assert not lock._os_lock._path.exists()


def test_dead_run_on_this_machine_is_replaced_at_once(folder, clock):
    first = WorkdirLock(folder).__enter__()
    die(first)
    started = clock.time
    with WorkdirLock(folder) as lock:
        assert clock.time - started <= workdir_lock.VISIBILITY_DELAY * files.is_remote(folder)
        assert of(folder / FILE)["id"] == lock._id != first._id


def test_exiting_process_is_waited_for(tmp_path, clock, monkeypatch):
    first = WorkdirLock(tmp_path).__enter__()
    monkeypatch.setattr(distributed, "process_state", lambda pid: {str(os.getpid()): "X"}[pid])
    clock.at(5, lambda: die(first))
    with WorkdirLock(tmp_path) as lock:
        assert lock.owned and clock.time < 7


def test_suspended_run_on_this_machine_is_called_so(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(distributed, "process_state", lambda pid: "T")
    with WorkdirLock(tmp_path), pytest.raises(UserError, match=r"UTC, suspended now; wait"):
        WorkdirLock(tmp_path).__enter__()


@pytest.mark.parametrize("changes", [{}, {"os_lock": None, "boot": "1", "pid_namespace": "2", "every": 10}])
def test_run_elsewhere_with_a_heartbeat_is_left_alone(folder, clock, changes):
    """On another machine, or of an older version."""
    path = lay(folder, **changes)
    clock.every(HEARTBEAT_SECONDS, lambda: renew(path))
    with pytest.raises(UserError, match=IN_USE):
        WorkdirLock(folder).__enter__()
    assert clock.time < 2 * HEARTBEAT_SECONDS and of(path)["host"] == "far-away"


def test_run_elsewhere_without_a_heartbeat_is_presumed_dead(folder, clock, caplog):
    lay(folder)
    with caplog.at_level(logging.INFO), WorkdirLock(folder) as lock:
        assert PATIENCE <= clock.time < PATIENCE + 5
        lock.check()
        assert of(folder / FILE)["id"] == lock._id
    (line,) = (record.getMessage() for record in caplog.records if record.name == workdir_lock.__name__)
    assert re.search(
        r"was last used by process \d+ on far-away, since .*; waiting 35 s for a heartbeat of that run", line
    )


def test_copied_running_json_does_not_count_as_this_machines(tmp_path, clock):
    with WorkdirLock(tmp_path / "run"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        with WorkdirLock(tmp_path / "copy"):
            assert clock.time >= PATIENCE


def test_unreadable_file_is_watched_like_one_from_elsewhere(tmp_path, clock):
    for text in ("", "{", "[1]", '{"pid": "x", "every": "y"}', "\udcff"):
        (tmp_path / FILE).write_text(text, errors="surrogateescape")
        started = clock.time
        with WorkdirLock(tmp_path):
            assert clock.time - started >= PATIENCE
            assert of(tmp_path / FILE)["pid"] == os.getpid()


def test_a_file_that_is_written_while_it_is_read_names_its_run(tmp_path, clock, monkeypatch):
    path, calls, stat = tmp_path / FILE, [], os.stat
    path.touch()

    def stat_while_another_run_writes(place, *rest, **named):
        if str(place) == str(path):
            calls.append(place)
            if len(calls) == 2:
                lay(tmp_path)
        return stat(place, *rest, **named)

    monkeypatch.setattr(workdir_lock.os, "stat", stat_while_another_run_writes)
    with pytest.raises(UserError, match="in use by another run: process .* on far-away"):
        WorkdirLock(tmp_path).__enter__()


def test_cancelled_wait_leaves_the_workdir_alone(folder, clock):
    path = lay(folder)
    with WorkdirLock(folder, cancelled=lambda: clock.time > 5) as lock:
        assert not lock.owned and clock.time < 10
    assert of(path)["host"] == "far-away"
    assert not lock._os_lock._path.exists()


def winners_of(number, folder):
    """Start several locks at once and return how many are owned. The others must be refused."""
    verdicts, start, end = [], threading.Barrier(number), threading.Event()

    def enter():
        start.wait()
        try:
            with WorkdirLock(folder):
                verdicts.append("owned")
                end.wait()
        except UserError as error:
            verdicts.append(str(error))

    threads = [threading.Thread(target=enter, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while len(verdicts) < number:
        assert time.monotonic() < until, verdicts
        time.sleep(0.001)
    end.set()
    for thread in threads:
        thread.join(60)
    assert all(re.search(IN_USE, verdict) for verdict in verdicts if verdict != "owned")
    return verdicts.count("owned")


def test_of_many_that_start_at_once_one_wins(folder, clock):
    assert winners_of(4, folder) == 1


def test_of_two_machines_that_start_at_once_one_wins(folder, clock, no_os_locks, monkeypatch):
    nobody_has_written, both_have_written = threading.Barrier(2), threading.Barrier(2)
    locks, write = [], WorkdirLock._write

    def write_together(lock, old):
        if old is None:
            locks.append(lock)
            nobody_has_written.wait(30)
        return write(lock, old)

    def sleep(seconds):
        if seconds == workdir_lock.VISIBILITY_DELAY:
            both_have_written.wait(30)
        else:  # The loser's.
            while not any(lock.owned for lock in locks):
                time.sleep(0.001)
            for lock in locks:
                lock.owned and lock.heartbeat()
        clock.sleep(seconds)

    monkeypatch.setattr(WorkdirLock, "_write", write_together)
    monkeypatch.setattr(WorkdirLock, "sleep", staticmethod(sleep))
    assert winners_of(2, folder) == 1


def test_notebook_that_lost_its_workdir_gets_an_error(folder, clock):
    with WorkdirLock(folder) as lock:
        path = lay(folder)
        lock.heartbeat()
        with pytest.raises(UserError, match=TAKEN):
            lock.check()
    assert of(path)["host"] == "far-away"


def test_command_that_lost_its_workdir_ends_in_its_thread(tmp_path, monkeypatch):
    said, ended = [], threading.Event()

    def end_at_once(*verdict):
        said.append(verdict)
        ended.set()
        threading.Event().wait()  # It never returns.

    monkeypatch.setattr(cli, "is_command", True)
    monkeypatch.setattr(cli, "end_at_once", end_at_once)
    with WorkdirLock(tmp_path):
        lay(tmp_path)
        assert ended.wait(30)
    assert re.match(f"error: {TAKEN}", said[0][0]) and said[0][1] == cli.USER_ERROR


def test_run_that_was_suspended_looks_before_it_writes(tmp_path, clock):
    with WorkdirLock(tmp_path) as lock:
        lay(tmp_path)
        lock.check()
        clock.sleep(2 * HEARTBEAT_SECONDS + 1)
        with pytest.raises(UserError, match=TAKEN):
            lock.check()


def test_deleted_file_is_written_again(folder, clock):
    with WorkdirLock(folder) as lock:
        (folder / FILE).unlink()
        lock.heartbeat()
        assert of(folder / FILE)["id"] == lock._id
        lock.check()


def test_failing_heartbeats_are_logged_once_and_end_nothing(tmp_path, clock, caplog):
    with WorkdirLock(tmp_path / "run") as lock:
        shutil.rmtree(tmp_path / "run")
        for _ in range(3):
            lock.heartbeat()
        lock.check()
    (line,) = (record.getMessage() for record in caplog.records)
    assert "running.json cannot be renewed, training continues: " in line


def test_every_attempt_is_broadcast_to_all_hosts(tmp_path, clock, monkeypatch):
    path, sent = lay(tmp_path), []
    clock.every(HEARTBEAT_SECONDS, lambda: renew(path))
    monkeypatch.setattr(distributed, "broadcast_str", lambda text: sent.append(text) or text)
    with pytest.raises(UserError) as refused:
        WorkdirLock(tmp_path).__enter__()
    assert sent == ["wait"] * (len(sent) - 1) + [str(refused.value)] and len(sent) >= HEARTBEAT_SECONDS

    monkeypatch.setattr(jax, "process_index", lambda: 1)
    verdicts = iter(sent)
    monkeypatch.setattr(distributed, "broadcast_str", lambda text: next(verdicts))
    with pytest.raises(UserError, match=IN_USE):
        WorkdirLock(tmp_path / "never made").__enter__()
    assert not (tmp_path / "never made").exists() and not list(verdicts)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    with contextlib.suppress(OSError), open(disk / "much", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_run_on_a_full_disk_still_has_a_heartbeat(small_disk, clock, caplog):
    with WorkdirLock(small_disk) as lock:
        fill(small_disk)
        os.utime(small_disk / FILE, ns=(0, 0))
        lock.heartbeat()
        assert (small_disk / FILE).stat().st_mtime_ns > 0
        lock.check()
    assert not caplog.records
    assert not (small_disk / FILE).exists()


def test_full_disk_at_the_start_is_an_error_and_leaves_no_file(small_disk):
    fill(small_disk)
    with pytest.raises(UserError, match="workdir .* cannot be used: .*No space left"):
        WorkdirLock(small_disk).__enter__()
    assert not (small_disk / FILE).exists()


# Real processes.


@pytest.fixture
def hold():
    """Starts tests.runtime.holder; kills what is left."""
    with contextlib.ExitStack() as started:

        def start(folder, every=HEARTBEAT_SECONDS, wait=True):
            command = [sys.executable, "-m", "tests.runtime.holder", str(folder), str(every)]
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            process = started.enter_context(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
            started.callback(process.kill)
            if wait:
                assert process.stdout.readline() == "held\n", process.communicate()
            return process

        yield start


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(workdir_lock, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(workdir_lock, "VISIBILITY_DELAY", 0.3)


def test_killed_processs_workdir_is_taken_before_it_is_reaped(hold, tmp_path):
    first = hold(tmp_path / "run")
    with pytest.raises(UserError, match=IN_USE):
        WorkdirLock(tmp_path / "run").__enter__()
    first.kill()
    began = time.monotonic()
    with WorkdirLock(tmp_path / "run"):
        assert time.monotonic() - began < PATIENCE / 2
        assert of(tmp_path / "run" / FILE)["pid"] == os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_of_many_processes_that_start_at_once_one_wins(hold, tmp_path, stale):
    folder = tmp_path / "run"
    if stale:
        die(WorkdirLock(folder).__enter__())
    (tmp_path / "ready").touch()
    several = [hold(folder, wait=False) for _ in range(4)]
    time.sleep(4)
    (tmp_path / "go").touch()
    while sum(process.poll() is not None for process in several) < 3:
        time.sleep(0.05)
    (winner,) = (process for process in several if process.poll() is None)
    losers = [process for process in several if process is not winner]
    assert all(re.search(IN_USE, commands.end(process)[1])[1] == str(winner.pid) for process in losers)
    assert commands.end(winner) == (0, "")


@pytest.mark.slow
def test_suspended_process_that_lost_its_workdir_writes_no_more(hold, tmp_path, soon, no_os_locks):
    first = hold(tmp_path, every=0.5)
    time.sleep(1)
    first.send_signal(signal.SIGSTOP)
    with WorkdirLock(tmp_path) as lock:
        written = (tmp_path / "written").read_text()
        first.send_signal(signal.SIGCONT)
        first.wait(commands.LIMIT)  # `end` closes stdin, which ends the process, too.
        status, text = commands.end(first)
        assert status == 2
        assert "another run has taken" in text and f"process {os.getpid()} on" in text
        assert len(text.splitlines()) == 1
        assert (tmp_path / "written").read_text() == written
        lock.check()
        assert of(tmp_path / FILE)["pid"] == os.getpid()


@pytest.mark.slow
def test_training_holds_the_lock_and_resumes_after_a_kill(tmp_path):
    endless = *commands.ENDLESS, "--config.checkpoint_every=5"
    first = commands.train(tmp_path, *endless)
    try:
        commands.wait_for_metrics(tmp_path, first)
        status, text = commands.end(commands.train(tmp_path, *endless))
        assert status == 2
        assert re.search(IN_USE, text)[1] == str(first.pid), text
        commands.wait_for_checkpoint(tmp_path, 5, first)
    finally:
        first.kill()
        first.communicate()
    saved = max(checkpoint_steps(tmp_path))
    for words in (f"from step {saved}", "nothing left to do"):
        status, text = commands.end(commands.train(tmp_path, f"--config.num_steps={saved + 1}"))
        assert status == 0, text
        assert words in text
        assert not (tmp_path / FILE).exists()


@pytest.mark.slow
def test_training_that_is_refused_changes_nothing(hold, tmp_path):
    first = hold(tmp_path / "run")
    before = contents(tmp_path)
    status, text = commands.end(commands.train(tmp_path / "run"))
    assert status == 2
    *looked_at, refusal = text.splitlines()  # The data come first: they are checked before anything is written.
    assert re.search(IN_USE, refusal)[1] == str(first.pid)
    assert all(" data: " in line for line in looked_at)
    assert contents(tmp_path) == before
    assert commands.end(first) == (0, "")


@pytest.mark.slow
def test_training_that_lost_its_workdir_ends_without_writing(tmp_path):
    elsewhere = "import tempfile; tempfile.tempdir = {!r}\n"  # The OS locks of another machine.
    quick = "from biggan_jax.runtime import workdir_lock; workdir_lock.HEARTBEAT_SECONDS = 1\n"
    first = commands.train(tmp_path / "run", *commands.ENDLESS, "--config.checkpoint_every=5", before=quick)
    try:
        commands.wait_for_metrics(tmp_path / "run", first)
        time.sleep(3)
        first.send_signal(signal.SIGSTOP)
        steps = max(checkpoint_steps(tmp_path / "run"), default=0)
        before = quick + elsewhere.format(str(tmp_path))
        second = commands.train(tmp_path / "run", f"--config.num_steps={steps + 1}", before=before)
        status, text = commands.end(second)
        assert status == 0, text
        assert "waiting 4 s for a heartbeat" in text
        lay(epath.Path(tmp_path / "run"))  # The second run, as if it continued.
        files_before = contents(tmp_path / "run")
        first.send_signal(signal.SIGCONT)
        status, text = commands.end(first)
        assert status == 2, text
        assert "another run has taken" in text.splitlines()[-1]
        assert "Traceback" not in text
        assert contents(tmp_path / "run") == files_before
    finally:
        first.kill()


@pytest.mark.slow
def test_all_processes_of_a_run_are_refused_alike(hold, tmp_path):
    from tests.runtime.test_distributed import assert_one_sentence

    run = untrained_run(tmp_path / "run")
    hold(run)
    holder = of(run / FILE)
    who = f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
    sentence = f"error: {run} is in use by another run: {who}; wait until it has ended, or use another folder"
    with commands.two_hosts(run) as processes:
        for status, text in commands.endings(processes):
            assert status == 2, text
            assert_one_sentence(text, sentence)
