"""Real processes, killed and suspended; another machine is one whose name the file does not share."""

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
import pytest
from etils import epath

from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import workdir_lock
from biggan_jax.runtime.workdir_lock import WorkdirLock
from biggan_jax.types import UserError
from tests.conftest import ROOT, untrained_run
from tests.data.test_records import Bucket
from tests.test_train import TINY, wait_for_metrics

IN_USE = r"is in use by another run: process (\d+) on \S+, since 20[^;]* UTC; wait until it has ended, or give another folder"
AT_ONCE = 3
"""Seconds that waiting for a sign of life would exceed."""


@pytest.fixture
def hold():
    """Starts tests.runtime.holder; none is left behind."""
    with contextlib.ExitStack() as started:

        def start(folder, every=workdir_lock.EVERY, wait=True):
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
    """A short wait for signs of life."""
    monkeypatch.setattr(workdir_lock, "EVERY", 1)
    monkeypatch.setattr(workdir_lock, "VISIBILITY_DELAY", 0.3)


@pytest.fixture
def bucket():
    fsspec.register_implementation("gcs", Bucket, clobber=True)
    folder = epath.Path("gs://bucket/run")
    yield folder
    Bucket.store.clear()


def end(process):
    """Its exit status and what it printed, once its stdin has ended."""
    stderr = process.communicate(timeout=60)[1]
    return process.returncode, stderr


def lay(folder, **changes):
    """The file of a run, as of this process but for the changes."""
    path = epath.Path(folder) / workdir_lock.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json.loads(WorkdirLock(folder)._text()) | {"id": "another"} | changes))
    return path


def of(path):
    return json.loads(path.read_text())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "written"}


def test_a_second_run_is_refused_while_the_first_lives_and_changes_nothing(hold, tmp_path):
    first = hold(tmp_path / "run")
    before = contents(tmp_path)
    status, text = end(hold(tmp_path / "run", wait=False))
    assert status == 2
    assert re.search(IN_USE, text)[1] == str(first.pid)
    assert len(text.splitlines()) == 1
    assert contents(tmp_path) == before
    assert end(first) == (0, "")


@pytest.mark.parametrize("buried", [False, True])
def test_a_killed_runs_folder_is_taken_at_once(hold, tmp_path, buried):
    first = hold(tmp_path / "run")
    first.kill()
    if buried:
        first.wait()
    began = time.monotonic()
    with WorkdirLock(tmp_path / "run"):
        assert time.monotonic() - began < AT_ONCE
        assert of(tmp_path / "run" / workdir_lock.FILE)["pid"] == os.getpid()


def test_the_file_is_there_while_the_run_lives_and_gone_at_its_end_also_when_it_fails(tmp_path):
    with pytest.raises(RuntimeError), WorkdirLock(tmp_path):
        assert of(tmp_path / workdir_lock.FILE)["pid"] == os.getpid()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_two_runs_of_one_process_are_two_and_one_that_was_cut_off_is_none(tmp_path):
    """As in a notebook."""
    with WorkdirLock(tmp_path), pytest.raises(UserError, match=IN_USE):
        WorkdirLock(tmp_path).__enter__()
    lay(tmp_path)
    with WorkdirLock(tmp_path):
        pass


def test_another_process_that_has_got_a_dead_ones_number_is_not_taken_for_it(tmp_path):
    lay(tmp_path, pid=os.getppid(), process_began="1")
    with WorkdirLock(tmp_path):
        pass


@pytest.mark.parametrize("key", ["host", "boot", "pid_namespace"])
def test_a_run_on_another_machine_that_shows_life_is_left_alone(hold, tmp_path, soon, key):
    hold(tmp_path, every=0.5)
    time.sleep(1.2)  # From now on it but touches the file.
    path = tmp_path / workdir_lock.FILE
    path.write_text(json.dumps(of(path) | {key: "another"}))
    with pytest.raises(UserError, match=IN_USE):
        WorkdirLock(tmp_path).__enter__()


def test_a_run_on_another_machine_that_shows_none_is_dead_after_a_while(tmp_path, soon, caplog):
    lay(tmp_path, host="far-away", every=1)
    began = time.monotonic()
    with caplog.at_level(logging.INFO), WorkdirLock(tmp_path) as held:
        assert 3 < time.monotonic() - began < 10
        held.check()
    (line,) = (record.getMessage() for record in caplog.records)
    assert re.search(
        r"was last in use by process \d+ on far-away, since .*; watching for 4 s whether that run lives", line
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x", "every": "y"}', "\udcff"])
def test_a_file_that_says_nothing_is_watched_like_one_of_another_machine(tmp_path, monkeypatch, text):
    monkeypatch.setattr(workdir_lock, "EVERY", 0.2)
    monkeypatch.setattr(workdir_lock, "VISIBILITY_DELAY", 0)
    (tmp_path / workdir_lock.FILE).write_text(text, errors="surrogateescape")
    with WorkdirLock(tmp_path):
        assert of(tmp_path / workdir_lock.FILE)["pid"] == os.getpid()


def test_who_is_tired_of_watching_does_not_get_the_folder(tmp_path, soon):
    path = lay(tmp_path, host="far-away")
    with WorkdirLock(tmp_path, tired=lambda: True) as held:
        assert not held.ours
    assert of(path)["host"] == "far-away"


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_begin_at_the_same_moment_one_goes_on(hold, tmp_path, stale):
    folder = tmp_path / "run"
    if stale:
        lay(folder, pid=os.getpid(), process_began="1")
    (tmp_path / "ready").touch()
    several = [hold(folder, wait=False) for _ in range(4)]
    time.sleep(4)
    (tmp_path / "go").touch()
    while sum(process.poll() is not None for process in several) < 3:
        time.sleep(0.05)
    (winner,) = (process for process in several if process.poll() is None)
    assert all(re.search(IN_USE, end(process)[1])[1] == str(winner.pid) for process in several if process is not winner)
    assert end(winner) == (0, "")


@pytest.mark.slow
def test_a_suspended_run_that_another_machine_has_taken_for_dead_writes_no_more(hold, tmp_path, soon):
    first = hold(tmp_path, every=0.5)
    time.sleep(1)
    path = tmp_path / workdir_lock.FILE
    first.send_signal(signal.SIGSTOP)
    path.write_text(json.dumps(of(path) | {"host": "far-away"}))
    with WorkdirLock(tmp_path) as held:
        written = (tmp_path / "written").read_text()
        first.send_signal(signal.SIGCONT)
        status, text = end(first)
        assert status == 2
        assert "another run has taken" in text and f"process {os.getpid()} on" in text
        assert len(text.splitlines()) == 1
        assert (tmp_path / "written").read_text() == written
        held.check()
        assert of(path)["pid"] == os.getpid()


@pytest.mark.slow
def test_a_suspended_run_on_this_machine_is_called_so(hold, tmp_path):
    first = hold(tmp_path)
    first.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    with pytest.raises(UserError, match=r"UTC, suspended now; wait"):
        WorkdirLock(tmp_path).__enter__()


def test_a_notebook_that_has_lost_its_folder_gets_an_error(tmp_path, soon):
    with WorkdirLock(tmp_path) as held:
        path = lay(tmp_path, host="far-away")
        time.sleep(2)
        with pytest.raises(UserError, match="another run has taken .* on far-away, .* ends without writing any more"):
            held.check()
    assert of(path)["host"] == "far-away"


def test_one_that_was_suspended_looks_before_it_writes_though_its_thread_is_late(tmp_path):
    with WorkdirLock(tmp_path) as held:
        lay(tmp_path, host="far-away")
        held.check()
        held._looked -= 3 * workdir_lock.EVERY
        with pytest.raises(UserError, match="another run has taken"):
            held.check()


def test_a_deleted_file_is_laid_anew(tmp_path, soon):
    with WorkdirLock(tmp_path) as held:
        (tmp_path / workdir_lock.FILE).unlink()
        time.sleep(3.5)
        assert of(tmp_path / workdir_lock.FILE)["id"] == held._id
        held.check()


def test_what_keeps_a_run_from_showing_life_is_told_once_and_is_not_its_end(tmp_path, soon, caplog):
    with WorkdirLock(tmp_path / "run") as held:
        shutil.rmtree(tmp_path / "run")
        time.sleep(3.5)
        held.check()
    (line,) = (record.getMessage() for record in caplog.records)
    assert "running.json cannot be renewed, training goes on: " in line


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


def test_a_run_on_a_full_disk_still_shows_that_it_lives(small_disk, soon, caplog):
    with WorkdirLock(small_disk) as held:
        fill(small_disk)
        before = (small_disk / workdir_lock.FILE).stat().st_mtime_ns
        time.sleep(2.5)
        assert (small_disk / workdir_lock.FILE).stat().st_mtime_ns > before
        held.check()
    assert not caplog.records
    assert not (small_disk / workdir_lock.FILE).exists()


def test_a_full_disk_is_said_at_the_start_and_leaves_no_empty_file(small_disk):
    fill(small_disk)
    with pytest.raises(UserError, match="workdir .* cannot be used: .*No space left"):
        WorkdirLock(small_disk).__enter__()
    assert not (small_disk / workdir_lock.FILE).exists()


def test_in_an_object_store_a_second_run_is_refused_and_nothing_is_left_at_the_end(bucket, soon):
    with WorkdirLock(bucket), pytest.raises(UserError, match=f"gs://bucket/run {IN_USE}"):
        WorkdirLock(bucket).__enter__()
    assert not (bucket / workdir_lock.FILE).exists()


def test_in_an_object_store_a_dead_run_of_this_machine_is_taken_and_a_silent_one_of_another_after_a_while(bucket, soon):
    for other, least in (({"process_began": "1"}, 0), ({"host": "far-away", "every": 1}, 3)):
        path = lay(bucket, **other)
        began = time.monotonic()
        with WorkdirLock(bucket):
            assert of(path)["pid"] == os.getpid()
            assert time.monotonic() - began > least


def test_in_an_object_store_a_living_run_of_another_machine_is_left_alone(bucket, soon, monkeypatch):
    with WorkdirLock(bucket) as held:
        machine = workdir_lock._machine()
        monkeypatch.setattr(held, "_text", lambda text=held._text: text().replace(machine["host"], "far-away"))
        time.sleep(1.5)
        with pytest.raises(UserError, match="on far-away"):
            WorkdirLock(bucket).__enter__()
        held.check()


def test_in_an_object_store_one_that_has_lost_its_folder_leaves_the_others_file(bucket, soon):
    with WorkdirLock(bucket) as held:
        path = lay(bucket, host="far-away")
        time.sleep(2)
        with pytest.raises(UserError, match="another run has taken"):
            held.check()
    assert of(path)["host"] == "far-away"


def test_in_an_object_store_of_many_that_begin_at_the_same_moment_one_goes_on(bucket, soon):
    verdicts, begin, over = [], threading.Barrier(4), threading.Event()

    def enter():
        begin.wait()
        try:
            with WorkdirLock(bucket):
                verdicts.append("held")
                over.wait()
        except UserError as error:
            verdicts.append(str(error))

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(verdicts) < 4:
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    assert verdicts.count("held") == 1
    assert all(re.search(IN_USE, verdict) for verdict in verdicts if verdict != "held")


def command(workdir, *overrides, every=workdir_lock.EVERY, **popen):
    code = f"from biggan_jax import lease, main; workdir_lock.EVERY = {every}; main.run()"
    arguments = f"--config={TINY}", f"--workdir={workdir}", *overrides
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True, **popen
    )


ENDLESS = "--config.num_steps=100000", "--config.checkpoint_every=5"


@pytest.mark.slow
def test_training_holds_its_folder_until_its_end_and_a_killed_runs_goes_on_at_once(tmp_path):
    first = command(tmp_path, *ENDLESS)
    try:
        wait_for_metrics(tmp_path, first)
        status, text = end(command(tmp_path, *ENDLESS))
        assert status == 2
        assert re.search(IN_USE, text)[1] == str(first.pid), text
        assert first.poll() is None
        while not checkpoint_steps(tmp_path):
            time.sleep(0.1)
    finally:
        first.kill()
        first.communicate()
    saved = max(checkpoint_steps(tmp_path))
    for said in (f"going on from step {saved}", "nothing left to do"):
        status, text = end(command(tmp_path, f"--config.num_steps={saved + 1}"))
        assert status == 0, text
        assert said in text
        assert not (tmp_path / workdir_lock.FILE).exists()


@pytest.mark.slow
def test_a_run_that_is_refused_leaves_the_folder_as_it_was(hold, tmp_path):
    hold(tmp_path / "run")
    before = contents(tmp_path)
    assert end(command(tmp_path / "run"))[0] == 2
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_training_that_was_suspended_and_taken_over_ends_without_writing(tmp_path):
    first = command(tmp_path, *ENDLESS, every=1)
    try:
        wait_for_metrics(tmp_path, first)
        time.sleep(3)
        first.send_signal(signal.SIGSTOP)
        path = tmp_path / workdir_lock.FILE
        path.write_text(json.dumps(of(path) | {"host": "far-away"}))
        steps = max(checkpoint_steps(tmp_path), default=0)
        status, text = end(command(tmp_path, f"--config.num_steps={steps + 1}", every=1))
        assert status == 0, text
        assert "on far-away, since" in text and "watching for 4 s" in text
        lay(tmp_path, host="far-away")  # The second, as if it went on.
        before = contents(tmp_path)
        first.send_signal(signal.SIGCONT)
        status, text = end(first)
        assert status == 2, text
        assert "another run has taken" in text.splitlines()[-1]
        assert "Traceback" not in text
        assert contents(tmp_path) == before
    finally:
        first.kill()


@pytest.mark.slow
def test_all_processes_of_a_run_are_refused_alike(hold, tmp_path):
    from tests.runtime.test_distributed import assert_one_sentence, endings, two_hosts

    run = untrained_run(tmp_path / "run")
    first = hold(run)
    began = of(run / workdir_lock.FILE)["started"]
    host = of(run / workdir_lock.FILE)["host"]
    sentence = f"process {first.pid} on {host}, since {began}; wait until it has ended, or give another folder"
    with two_hosts(run) as processes:
        for status, text in endings(processes):
            assert status == 2, text
            assert_one_sentence(text, f"error: {run} is in use by another run: {sentence}")
