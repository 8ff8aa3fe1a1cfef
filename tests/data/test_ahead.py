"""Waiting for data: it is said, and a stop is honoured at once, without losing the steps done."""

import itertools
import logging
import os
import signal
import threading

import pytest

from biggan_jax import checkpoint
from biggan_jax.data import ahead, loader
from biggan_jax.data.ahead import Ahead
from biggan_jax.runtime import cli
from biggan_jax.train import train


@pytest.fixture
def stalled(monkeypatch):
    """An event until which data stall. Threads are given up at once, and the clock advances 10 s at each look."""
    over, seconds = threading.Event(), itertools.count(0, 10)
    monkeypatch.setattr(Ahead, "LEAVE", 0.01)
    monkeypatch.setattr(Ahead, "POLL", 0)
    monkeypatch.setattr(Ahead, "now", staticmethod(lambda: next(seconds)))
    monkeypatch.setattr(cli, "_threads_hang", False)
    yield over
    over.set()


def two_and_a_stall(over):
    yield 1
    yield 2
    over.wait()
    yield 3


def test_elements_come_in_order_then_the_end_or_the_error():
    assert list(Ahead(iter(range(5)), 2)) == list(range(5))
    broken = Ahead(itertools.chain([1], (1 // i for i in [0])), 2)
    assert next(broken) == 1
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            next(broken)
    broken.close()


def test_a_stall_is_said_after_30_s_and_when_it_has_doubled(stalled, caplog, monkeypatch):
    looks = itertools.count()
    waiting = Ahead(two_and_a_stall(stalled), 1, cancelled=lambda: waiting.now() and next(looks) > 6)
    with monkeypatch.context() as patch:
        patch.setattr(Ahead, "now", staticmethod(lambda: 0))
        assert [next(waiting), next(waiting)] == [1, 2]
    assert list(waiting) == []
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(",")[0] for line in said] == [f"training has waited {s} s for data" for s in (40, 60, 120)]


def test_a_stop_ends_the_wait_and_the_command_ends_without_the_thread(stalled, monkeypatch):
    waiting = Ahead((stalled.wait() for _ in range(3)), 1, cancelled=lambda: True)
    assert list(waiting) == []
    waiting.close()
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    cli._end(75)
    assert ended == [75]


def test_a_thread_that_waits_for_room_ends(stalled, monkeypatch):
    monkeypatch.setattr(Ahead, "LEAVE", 60)
    monkeypatch.setattr(Ahead, "POLL", 0.001)
    full = Ahead(itertools.count(), 2)
    next(full)
    full.close()
    assert not full._thread.is_alive() and cli._end(75) == 75


def test_sigterm_during_a_stall_saves_the_steps_done(stalled, dense, tmp_path, monkeypatch, caplog, compile_once):
    caplog.set_level(logging.INFO)
    dense.checkpoint_every, dense.num_steps = 100, 6
    read = loader.HostBatches.__call__

    def read_three(self, step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            stalled.wait()
        return read(self, step)

    monkeypatch.setattr(loader.HostBatches, "__call__", read_three)
    monkeypatch.setattr(ahead.Ahead, "POLL", 0.01)
    assert not train(dense, tmp_path)
    saved = checkpoint.checkpoint_steps(tmp_path)
    assert len(saved) == 1 and 1 <= saved[0] <= 3 and f"step {saved[0]} of 6: saved" in caplog.text
    stalled.set()
    monkeypatch.setattr(loader.HostBatches, "__call__", read)
    assert train(dense, tmp_path)
    assert train(dense, tmp_path / "unbroken")
    assert checkpoint.compare(tmp_path / "unbroken", tmp_path) == []
