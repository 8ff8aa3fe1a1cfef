"""Two processes of four devices each, started as a user starts them, against one process of eight."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from biggan_jax import checkpoint, data, sharding
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, load_state
from biggan_jax.models import build_gan
from biggan_jax.runtime import cli, distributed
from biggan_jax.state import init_state
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.conftest import ROOT, tiny_config, with_attention
from tests.runtime.commands import (
    BOUND,
    ENDLESS,
    TINY,
    end,
    endings,
    four_devices,
    free_port,
    two_hosts,
    wait_for_checkpoint,
    wait_until,
)
from tests.test_sharding import STEPS, assert_same_training

GONE = "gone, so this process ends too; rerun the same command on all processes to resume from the last checkpoint"


def assert_one_sentence(text, sentence, command="recorded.py"):
    """`text` is the sentence and lines of progress."""
    others = [line for line in text.splitlines() if not distributed._LOG_LINE.match(line)]
    assert others == [f"{command}: {sentence}"], text


@contextlib.contextmanager
def two_peers(workdir, *fail):
    """Start tests.runtime.peer twice; kill what is left at the end."""
    command = [sys.executable, "-m", "tests.runtime.peer", str(free_port())]
    options = {"cwd": ROOT, "env": four_devices(), "stderr": subprocess.PIPE, "text": True}
    peers = [subprocess.Popen([*command, str(i), str(workdir), *fail], **options) for i in range(2)]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.kill()
            peer.communicate()


def test_two_hosts_communicate_and_fail_alike(tmp_path):
    with two_peers(tmp_path, "both:UserError") as peers:
        assert endings(peers) == [(2, "peer.py: error: the disk is full of water\n")] * 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_host_is_killed_the_other_says_so(tmp_path, victim):
    with two_peers(tmp_path) as peers:
        wait_until((tmp_path / "running.json").exists, peers)
        peers[victim].kill()
        ends = endings(peers, BOUND)
    status, text = ends[1 - victim]
    assert ends[victim][0] == -signal.SIGKILL
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}", "peer.py")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_host_fails_it_says_why_and_the_other_ends(tmp_path, victim):
    with two_peers(tmp_path, f"{victim}:OSError") as peers:
        ends = endings(peers)
    status, text = ends[victim]
    assert status == 1 and "OSError: the disk is full of water" in text, text
    assert text.count("Traceback") == 1
    status, text = ends[1 - victim]
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}", "peer.py")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_user_error_on_one_host_ends_both(tmp_path, victim):
    with two_peers(tmp_path, f"{victim}:UserError") as peers:
        ends = endings(peers)
    status, text = ends[victim]
    assert status == 2, text
    assert_one_sentence(text, "error: the disk is full of water", "peer.py")
    status, text = ends[1 - victim]
    assert status == 75, text
    assert_one_sentence(text, f"process {victim} is {GONE}", "peer.py")


@pytest.mark.slow
def test_a_signal_to_one_host_stops_both(tmp_path):
    with two_peers(tmp_path) as peers:
        wait_until((tmp_path / "running.json").exists, peers)
        peers[1].terminate()
        ends = endings(peers)
    assert [status for status, _ in ends] == [75, 75], ends
    assert not list(tmp_path.iterdir())


LOST = f"F1125 00:00:00.0 1 client.h:80] Terminating process because the {distributed._LOST}. absl::Status: "


@pytest.mark.parametrize(
    ("message", "who"),
    [
        (
            "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks have",
            "process 1 is",
        ),
        ("unhealthy (stopped sending heartbeats):\n/job:jax_worker/replica:0/task:3\nThe tasks", "process 3 is"),
        ("unhealthy (stopped sending heartbeats):\n1, 12\nThe tasks have crashed", "processes 1, 12 are"),
        ("Shutdown barrier has failed. Barrier result: 'UNAVAILABLE: Task 1 heartbeat timeout. This", "process 1 is"),
        ("UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task", "process 0 is"),
        ("INTERNAL: words of a later version", "another process is"),
    ],
)
def test_sentence_names_the_lost_peers_of_jaxs_message(message, who):
    assert distributed._explain(LOST + message, (None, None, None), 300) == f"{who} {GONE}"


def test_sentence_names_the_flag_if_peers_do_not_arrive():
    message = LOST + "DEADLINE_EXCEEDED\nRPC: /xla.coordination.CoordinationService/RegisterTask"
    sentence = "within 3 s (--arrive_within); start all of them; the same command resumes the run"
    for cluster, who in (((None, None, None), "all"), (("host:1", 2, 0), "all 2")):
        where = " at host:1" if cluster[0] else ""
        assert distributed._explain(message, cluster, 3) == f"not {who} processes arrived{where} {sentence}"


def test_messages_of_the_coordination_service_are_withheld():
    lines = [
        ("12:00:00 step 1\n", False),
        ("E1128 23:04:36.3 1 coordination_service.cc:1549] Use error polling:\n", True),
        ("1\n", True),
        ("E1128 23:04:36.4 1 other.cc:1] an error of XLA\n", False),
        ("its second line\n", False),
        ("W1128 23:04:36.4 1 preemption_sync_manager.cc:147] Failed to retrieve\n", True),
        ("12:00:01 step 2\n", False),
        (LOST + "\n", True),
        ("*** Check failure stack trace: ***\n", True),
        ("12:00:02 step 3\n", True),
    ]
    withhold = distributed._Coordination()
    assert [withhold(line) for line, _ in lines] == [withheld for _, withheld in lines]


@pytest.mark.parametrize(
    ("ended", "status", "printed"),
    [
        ((0, ""), 0, ""),
        ((1, "E1128 client.cc:1] x\n"), 1, "E1128 client.cc:1] x\n"),
        ((1, LOST), cli.RUN_AGAIN, f"another process is {GONE}\n"),
        ((-signal.SIGABRT, LOST), cli.RUN_AGAIN, f"another process is {GONE}\n"),
        ((cli.COLLAPSED, LOST), cli.COLLAPSED, ""),
        ((-signal.SIGINT, ""), 130, "interrupted\n"),
        (
            (-signal.SIGKILL, ""),
            137,
            "ended by signal 9; rerun the same command to resume from the last checkpoint\n",
        ),
    ],
)
def test_parent_reports_how_its_child_ended(monkeypatch, capsys, ended, status, printed):
    monkeypatch.setattr(distributed, "run_child", lambda withhold: ended)
    assert distributed._run_child((None, None, None), 300) == status
    text = capsys.readouterr().err
    assert text == printed or text.partition(": ")[2] == printed


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (OSError("a disk"), False),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (jax.errors.JaxRuntimeError("INTERNAL: Connection closed by peer"), True),
        (ValueError("UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer [127.0.0.1]:49574"), True),
        (ValueError("a defect"), False),
        (TimeoutError(), True),
    ],
)
def test_error_ends_a_child_after_a_lost_peer_was_noticed(monkeypatch, capsys, error, waits):
    slept = []
    monkeypatch.setattr(distributed, "_is_child", True)
    monkeypatch.setattr(distributed.time, "sleep", slept.append)
    monkeypatch.setattr(os, "_exit", lambda status: sys.exit(status))
    for cause in (None, error):
        outer = RuntimeError("a library's")
        outer.__cause__ = cause
        with pytest.raises(SystemExit) as ended:
            distributed.exit_without_barrier(type(error), outer if cause else error, None)
        assert ended.value.code == 1
    assert slept == [40, 40] * waits
    assert type(error).__name__ in capsys.readouterr().err


def test_only_a_childs_own_failures_end_it_without_barrier(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda status: 1 / 0)
    distributed.exit_without_barrier(OSError, OSError(), None)  # Not one of several.
    monkeypatch.setattr(distributed, "_is_child", True)
    for error in (UserError("x"), KeyboardInterrupt(), None):
        distributed.exit_without_barrier(type(error), error, None)


# Training on two hosts.


def small_config(**changes):
    c = tiny_config()
    c.num_steps, c.checkpoint_every = STEPS, 1
    c.update_from_flattened_dict(changes)
    return c


def train_on_two(workdir, *overrides, **more):
    with two_hosts(workdir, *overrides, **more) as processes:
        ends = endings(processes)
    assert [status for status, _ in ends] == [0, 0], ends
    return [text for _, text in ends]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with a checkpoint of step 0, attention switched on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "MIN_SHARDED_SIZE", 64)
        folder = tmp_path_factory.mktemp("start")
        c = small_config()
        checkpoints = Checkpoints(folder, keep=1)
        checkpoints.save(with_attention(jax.jit(lambda: init_state(build_gan(c), 0))()), c)
        checkpoints.close()
        yield folder


def copy(folder, step, to):
    shutil.copytree(folder / "checkpoints" / str(step), to / "checkpoints" / str(step))
    return to


@pytest.fixture(scope="module")
def one(start, tmp_path_factory):
    """A run of one process on its eight devices."""
    folder = copy(start, 0, tmp_path_factory.mktemp("one"))
    assert train(small_config(), folder)
    return folder


@pytest.fixture(scope="module")
def two(start, tmp_path_factory):
    """(folder, stderr of each, records of tests.recorded) of the same steps on two hosts, the weights in two shards."""
    folder = copy(start, 0, tmp_path_factory.mktemp("two"))
    record = tmp_path_factory.mktemp("record")
    overrides = "--config.num_steps=3", "--config.mesh.fsdp=2", "--config.sample_every=3"
    return folder, train_on_two(folder, *overrides, RECORD=str(record)), record


def assert_same(folder, other):
    (a, config, _), (b, _, _) = load_state(folder), load_state(other)
    assert int(a.step) == int(b.step) == STEPS
    assert_same_training(config, a, b)


@pytest.mark.slow
def test_two_hosts_train_as_one_does(one, two):
    assert_same(one, two[0])


@pytest.mark.slow
def test_two_hosts_train_as_one_does_without_fsdp(one, start, tmp_path):
    train_on_two(copy(start, 0, tmp_path), "--config.num_steps=3")
    assert_same(one, tmp_path)


@pytest.mark.slow
def test_a_run_resumes_with_other_numbers_of_hosts_and_shards(one, two, tmp_path):
    """Two hosts, then one, then two, on three meshes."""
    copy(two[0], 1, tmp_path)
    assert train(small_config(num_steps=2), tmp_path)
    printed, _ = train_on_two(tmp_path, "--config.num_steps=3", "--config.mesh.fsdp=4")
    assert "from step 2" in printed
    assert_same(one, tmp_path)


@pytest.mark.slow
def test_each_host_reads_its_own_part_of_the_one_order(two):
    config = small_config()
    source = data.make_source(config)
    for step in range(STEPS):
        whole, _ = data.host_batches(source, config, attempt=0)(step)
        parts = [np.load(two[2] / f"batch_{step}_{host}.npz") for host in range(2)]
        for name in whole:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=1), whole[name])


@pytest.mark.slow
def test_process_0_alone_writes_and_logs(two):
    folder, (first, second), record = two
    written = lambda host: {
        line
        for line in (record / f"writes_{host}").read_text().splitlines()
        if not line.startswith(("checkpoints", "events.out"))
    }
    pictures = {f"samples/00000003_{name}.png" for name in ("live", "ema")}
    assert written(0) == {".config.json.tmp", ".data.json.tmp", "metrics.jsonl", "running.json", *pictures}
    assert not (record / "writes_1").exists() or not written(1)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "step 3 of 3: saved in" in first
    assert not second


def assert_it_resumes(folder):
    """The same command trains one step more than what is saved."""
    saved = max(checkpoint_steps(folder))
    printed, _ = train_on_two(folder, f"--config.num_steps={saved + 1}", "--config.stability.every=0")
    assert f"from step {saved}" in printed
    assert checkpoint.find(folder).name == str(saved + 1)


@pytest.mark.slow
def test_a_run_resumes_after_one_of_its_processes_was_killed(tmp_path):
    with two_hosts(tmp_path, *ENDLESS) as processes:
        wait_for_checkpoint(tmp_path, 2, *processes)
        processes[1].kill()
        ends = endings(processes, BOUND)
    status, text = ends[0]
    assert status == 75, text
    assert_one_sentence(text, f"process 1 is {GONE}")
    assert_it_resumes(tmp_path)


@pytest.mark.slow
def test_a_failing_data_set_on_one_host_ends_both(tmp_path):
    with two_hosts(tmp_path, *ENDLESS, FAIL="1:3", ERROR="OSError") as processes:
        ends = endings(processes)
    assert [status for status, _ in ends] == [75, 1], ends
    assert "OSError: the disk is full of water" in ends[1][1] and ends[1][1].count("Traceback") == 1
    assert_one_sentence(ends[0][1], f"process 1 is {GONE}")
    assert_it_resumes(tmp_path)


@pytest.mark.slow
def test_a_user_error_on_all_hosts_is_printed_by_each(tmp_path):
    with two_hosts(tmp_path / "run", "--config.batch_size=12") as processes:
        ends = endings(processes)
    for status, text in ends:
        assert status == 2, text
        assert "error: batch_size 12 is not divisible by 8 devices" in text and len(text.splitlines()) == 1, text


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_ends_both(tmp_path):
    with two_hosts(tmp_path, *ENDLESS) as processes:
        wait_for_checkpoint(tmp_path, 2, *processes)
        processes[1].send_signal(signal.SIGTERM)
        ends = endings(processes)
    assert [status for status, _ in ends] == [75, 75], ends
    assert_it_resumes(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("present", [0, 1])
def test_a_process_that_never_arrives_is_given_up(tmp_path, present):
    with two_hosts(tmp_path / "run", "--arrive_within=3", arrive=[present]) as (process,):
        status, text = end(process, BOUND)
    assert status == 75, text
    assert "recorded.py: not all 2 processes arrived at localhost:" in text
    assert "within 3 s (--arrive_within); start all of them; the same command resumes the run" in text
    assert len(text.splitlines()) == 1, text
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_local_launcher_ends_when_one_of_its_processes_is_killed(tmp_path):
    command = ["launch/local.sh", "2", f"--config={TINY}", f"--workdir={tmp_path}", *ENDLESS]
    environment = four_devices(PYTHON=sys.executable)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as launcher:
        try:
            wait_for_checkpoint(tmp_path, 2, launcher)
            children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
            status, text = end(launcher, BOUND)
        finally:
            launcher.terminate()
    assert status == 128 + signal.SIGKILL
    assert f"process 0 is {GONE}" in text
