"""Two processes of four devices each, started as a user starts them, against one process of eight."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from biggan_jax import checkpoint, data, sharding
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, load_state
from biggan_jax.models import build_gan
from biggan_jax.runtime import distributed
from biggan_jax.state import init_state
from biggan_jax.train import train
from tests.conftest import ROOT, tiny_config, with_attention
from tests.test_sharding import ROUNDS, assert_same_training
from tests.test_train import TINY

LIMIT = 240
"""Seconds after which a command that should have ended is a failed test."""

BOUND = 60
"""Seconds within which the death of one process has ended the others."""

GONE = "gone, so this one ends, too; the same command, given to all of them, goes on from the last checkpoint"


def small_config(**changes):
    c = tiny_config()
    c.num_steps, c.checkpoint_every = ROUNDS, 1
    c.update_from_flattened_dict(changes)
    return c


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def environment(**more):
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=4")
    return os.environ | {"XLA_FLAGS": flags, **more}


@contextlib.contextmanager
def two_hosts(workdir, *overrides, arrive=(0, 1), **more):
    """The two processes of one run (or those of them that `arrive`); none is left behind."""
    shared = f"--config={TINY}", f"--workdir={workdir}", "--config.checkpoint_every=1", *overrides
    shared += "--multihost", f"--coordinator=localhost:{free_port()}", "--num_processes=2"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.recorded", *shared, f"--process_id={i}"],
            cwd=ROOT,
            env=environment(**more),
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
    """[(exit status, what it printed)], once all have ended."""
    stop = time.monotonic() + limit
    texts = [process.communicate(timeout=max(stop - time.monotonic(), 1))[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


def train_on_two(workdir, *overrides, **more):
    with two_hosts(workdir, *overrides, **more) as processes:
        ends = endings(processes)
    assert [status for status, _ in ends] == [0, 0], ends
    return [text for _, text in ends]


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "LEAST_SPLIT", 64)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with a checkpoint of step 0, attention switched on."""
    folder = tmp_path_factory.mktemp("start")
    c = small_config()
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(with_attention(jax.jit(lambda: init_state(build_gan(c), 0))()), c)
    checkpoints.close()
    return folder


def copy(folder, step, to):
    shutil.copytree(folder / "checkpoints" / str(step), to / "checkpoints" / str(step))
    return to


@pytest.fixture(scope="module")
def one(start, tmp_path_factory):
    """ROUNDS rounds in one process on its eight devices."""
    folder = copy(start, 0, tmp_path_factory.mktemp("one"))
    assert train(small_config(), folder)
    return folder


@pytest.fixture(scope="module")
def two(start, tmp_path_factory):
    """(folder, what each printed, what each recorded) of the same rounds in two processes, the weights in two parts."""
    folder = copy(start, 0, tmp_path_factory.mktemp("two"))
    record = tmp_path_factory.mktemp("record")
    overrides = "--config.num_steps=3", "--config.mesh.fsdp=2", "--config.sample_every=3"
    return folder, train_on_two(folder, *overrides, RECORD=str(record)), record


def assert_same(folder, other):
    (a, config, _), (b, _, _) = load_state(folder), load_state(other)
    assert int(a.step) == int(b.step) == ROUNDS
    assert_same_training(config, a, b)


def test_two_processes_end_as_one_does(one, two):
    assert_same(one, two[0])


@pytest.mark.slow
def test_two_processes_end_as_one_does_without_fsdp_too(one, start, tmp_path):
    train_on_two(copy(start, 0, tmp_path), "--config.num_steps=3")
    assert_same(one, tmp_path)


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes_and_parts(one, two, tmp_path):
    """Two processes, then one, then two again, on three meshes: what an unbroken run in one process gives."""
    copy(two[0], 1, tmp_path)
    assert train(small_config(num_steps=2), tmp_path)
    printed, _ = train_on_two(tmp_path, "--config.num_steps=3", "--config.mesh.fsdp=4")
    assert "going on from step 2" in printed
    assert_same(one, tmp_path)


def test_each_host_reads_its_own_part_of_the_one_order(two):
    config = small_config()
    source = data.make_source(config)
    for step in range(ROUNDS):
        whole, _ = data.host_batches(source, config, attempt=0)(step)
        parts = [np.load(two[2] / f"batch_{step}_{host}.npz") for host in range(2)]
        for name in whole:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=1), whole[name])


def test_the_first_host_alone_writes_and_speaks(two):
    folder, (first, second), record = two
    written = lambda host: {
        line for line in (record / f"writes_{host}").read_text().splitlines() if not line.startswith("checkpoints")
    }
    pictures = {f"samples/00000003_{name}.png" for name in ("live", "ema")}
    assert written(0) == {".config.json.tmp", ".data.json.tmp", "metrics.jsonl", "running.json", *pictures}
    assert not (record / "writes_1").exists() or not written(1)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "step 3 of 3: saved in" in first
    assert not second


def wait_for_checkpoint(folder, step, processes):
    for _ in range(10 * LIMIT):
        if max(checkpoint_steps(folder), default=0) >= step:
            return
        assert all(process.poll() is None for process in processes), endings(processes)
        time.sleep(0.1)
    raise AssertionError(f"no checkpoint of step {step}")


def assert_it_goes_on(folder):
    """The same command, to one step more than what is saved."""
    saved = max(checkpoint_steps(folder))
    printed, _ = train_on_two(folder, f"--config.num_steps={saved + 1}")
    assert f"going on from step {saved}" in printed
    assert checkpoint.find(folder).name == str(saved + 1)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_is_killed_the_other_says_so_and_the_same_command_goes_on(tmp_path, victim):
    with two_hosts(tmp_path, "--config.num_steps=100000") as processes:
        wait_for_checkpoint(tmp_path, 2, processes)
        processes[victim].kill()
        ends = endings(processes, BOUND)
    status, text = ends[1 - victim]
    assert ends[victim][0] == -signal.SIGKILL
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}")
    assert_it_goes_on(tmp_path)


def assert_one_sentence(text, sentence):
    """Nothing but it, beside the lines of progress."""
    others = [line for line in text.splitlines() if not distributed._OWN_LINE.match(line)]
    assert others == [f"recorded.py: {sentence}"], text


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_fails_says_why_and_the_other_that_it_is_gone(tmp_path, victim):
    more = {"FAIL": f"{victim}:3", "ERROR": "OSError"}
    with two_hosts(tmp_path, "--config.num_steps=100000", **more) as processes:
        wait_for_checkpoint(tmp_path, 2, processes)
        ends = endings(processes, BOUND)
    status, text = ends[victim]
    assert status == 1 and "OSError: the disk is full of water" in text, text
    assert text.count("Traceback") == 1
    status, text = ends[1 - victim]
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}")
    assert_it_goes_on(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_mistake_on_one_host_ends_both(tmp_path, victim):
    more = {"FAIL": f"{victim}:0", "ERROR": "UserError"}
    with two_hosts(tmp_path, "--config.num_steps=100000", **more) as processes:
        ends = endings(processes, LIMIT)
    status, text = ends[victim]
    assert status == 2, text
    assert_one_sentence(text, "error: the disk is full of water")
    status, text = ends[1 - victim]
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}")


@pytest.mark.parametrize(
    ("told", "who"),
    [
        (
            "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks have",
            "process 1 is",
        ),
        ("unhealthy (stopped sending heartbeats):\n/job:jax_worker/replica:0/task:3\nThe tasks", "process 3 is"),
        ("unhealthy (stopped sending heartbeats):\n1, 12\nThe tasks have crashed", "processes 1, 12 are"),
        ("Shutdown barrier has failed. Barrier result: 'UNAVAILABLE: Task 1 heartbeat timeout. This", "process 1 is"),
        ("UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task", "process 0 is"),
        ("INTERNAL: words that a later version finds", "another process is"),
    ],
)
def test_the_sentence_names_who_is_gone_in_the_words_of_jax(told, who):
    text = f"F1125 00:00:00.0 1 client.h:80] Terminating process because the {distributed._LOST}. absl::Status: {told}"
    assert distributed._explain(text, (None, None, None), 300) == f"{who} {GONE}"


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_ends_both(tmp_path):
    with two_hosts(tmp_path, "--config.num_steps=100000") as processes:
        wait_for_checkpoint(tmp_path, 2, processes)
        processes[1].send_signal(signal.SIGTERM)
        ends = endings(processes)
    assert [status for status, _ in ends] == [75, 75], ends
    assert_it_goes_on(tmp_path)


@pytest.mark.parametrize("present", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_never_comes_is_not_waited_for_for_ever(tmp_path, present):
    with two_hosts(tmp_path / "run", "--arrive_within=3", arrive=[present]) as processes:
        ((status, text),) = endings(processes, BOUND)
    assert status == 75, text
    assert "recorded.py: not all 2 processes arrived at localhost:" in text
    assert "within 3 s (--arrive_within); start them all, and the same command goes on" in text
    assert len(text.splitlines()) == 1, text
    assert not (tmp_path / "run").exists()


def test_a_mistake_that_all_hosts_see_is_said_by_each(tmp_path):
    with two_hosts(tmp_path / "run", "--config.batch_size=12") as processes:
        ends = endings(processes)
    for status, text in ends:
        assert status == 2, text
        assert_one_sentence(text, "error: batch_size 12 is not divisible by 8 devices; nearest are 8 and 16")


@pytest.mark.slow
def test_the_local_launcher_ends_when_one_of_its_processes_is_killed(tmp_path):
    command = ["launch/local.sh", "2", f"--config={TINY}", f"--workdir={tmp_path}", "--config.num_steps=100000"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(PYTHON=sys.executable), stderr=subprocess.PIPE, text=True
    ) as launcher:
        try:
            wait_for_checkpoint(tmp_path, 2, [launcher])
            children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
            text = launcher.communicate(timeout=BOUND)[1]
        finally:
            launcher.terminate()
    assert launcher.returncode == 128 + signal.SIGKILL
    assert f"process 0 is {GONE}" in text
