import errno
import os
import signal

import pytest

from biggan_jax.runtime import distributed
from biggan_jax.runtime.supervised import supervised
from biggan_jax.runtime.workdir_lock import FILE, WorkdirLock
from biggan_jax.types import UserError


def test_a_job_holds_the_lock_until_its_callbacks_have_run(tmp_path):
    order = []
    with supervised(tmp_path / "run") as job:
        assert not (tmp_path / "run").exists()
        assert job.lock_workdir()
        job.check()
        job.at_exit(lambda: order.append(("first", (tmp_path / "run" / FILE).exists())))
        job.at_exit(lambda: order.append(("second", (tmp_path / "run" / FILE).exists())))
    assert order == [("second", True), ("first", True)]
    assert not (tmp_path / "run" / FILE).exists()


def test_a_second_job_on_a_workdir_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(WorkdirLock, "sleep", lambda *_: None)
    with supervised(tmp_path) as first, supervised(tmp_path) as second:
        assert first.lock_workdir()
        with pytest.raises(UserError, match="in use by another run"):
            second.lock_workdir()


def test_a_signal_stops_the_job_after_the_step(tmp_path):
    with supervised(tmp_path) as job:
        assert not job.should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert job.should_stop()


def test_a_signal_ends_the_wait_for_the_lock(tmp_path):
    (tmp_path / FILE).touch()
    with supervised(tmp_path) as job:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not job.lock_workdir()
        job.check()
    assert (tmp_path / FILE).read_text() == ""


def test_a_full_disk_is_explained_before_callbacks_run(tmp_path):
    order = []
    with pytest.raises(UserError, match="no room is left .*; step 7 is saved"), supervised(tmp_path, lambda: 7) as job:
        job.at_exit(lambda: order.append("callback"))
        raise OSError(errno.ENOSPC, "No space left on device")
    assert order == ["callback"]


def test_a_lost_peer_ends_the_process_before_callbacks(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(distributed, "exit_without_barrier", lambda *_: order.append("exit"))
    with pytest.raises(RuntimeError), supervised(tmp_path) as job:
        job.at_exit(lambda: order.append("callback"))
        raise RuntimeError
    assert order == ["exit", "callback"]
