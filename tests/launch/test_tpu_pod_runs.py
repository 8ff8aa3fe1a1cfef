"""launch/tpu_pod.sh against tests/launch/cloud.py: whole runs with preemptions, failures and stops."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from tests.launch.rig import ACTIVE, PREEMPTED, executable, wait_until

pytestmark = pytest.mark.launch


def test_an_exhausted_quota_is_reported(rig):
    done = (r := rig(lives=["RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProject' has been exceeded"])).run(
        "train"
    )
    assert done.returncode == 2 and "Quota limit" in done.stderr and "gcloud refuses to create the slice" in done.stderr
    assert r.slice is None


def test_a_failed_request_is_reported(rig):
    r = rig(lives=[["PROVISIONING", "FAILED"]])
    done = r.run("train")
    assert done.returncode == 2 and "the queued resource failed: the zone has no such TPUs" in done.stderr
    assert "to delete the slice" in done.stderr and len(r.calls("create")) == 1


def test_preempted_while_waiting(rig):
    r = rig(lives=[["WAITING_FOR_RESOURCES", "SUSPENDING", "SUSPENDED"], ACTIVE])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 2 and len(r.calls("delete")) == 2


@pytest.mark.parametrize("life", [PREEMPTED, [*ACTIVE, "ACTIVE", "ACTIVE", "PREEMPTED"]])
def test_preempted_while_training(rig, life):
    """Preempt the queued resource, or only its machines while the request stays active."""
    r = rig(lives=[life, ACTIVE], endings=["never", "0"])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert "the slice or one of its workers is gone; again (1 of at most 100)" in done.stderr
    assert len(r.calls("create")) == 2 and len(r.calls("tpu_worker.sh run")) == 2
    assert r.calls("create")[0] == r.calls("create")[1] and r.slice is None


@pytest.mark.parametrize("call", [1, 2, 3])
def test_preempted_during_setup(rig, call):
    done = (r := rig(lives=[ACTIVE, ACTIVE], preempted_at=call)).run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 2 and r.logs()["1.log"].count("training, ") == 1


def test_no_capacity_after_a_preemption_is_waited_for(rig):
    r = rig(lives=[PREEMPTED, "no more capacity", "no more capacity", ["FAILED"], ACTIVE], endings=["never", "0"])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 5


def test_status_75_resumes_on_the_same_slice(rig):
    r = rig(endings=["75", "75", "0"])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 1 and len(r.calls("tpu_worker.sh run")) == 3
    assert r.logs()["1.log"].count("training, ") == 3
    installed = (r.cloud / "installed").read_text()
    assert installed.count("0: -m uv pip install") == 1, "the same wheel is installed once"


@pytest.mark.parametrize("ending, sentence", [("3", "the run collapsed"), ("2", "training reported a user error")])
@pytest.mark.parametrize("other", ["75", "137"])
def test_a_collapse_and_a_user_error_end_the_run(rig, ending, sentence, other):
    r = rig(endings={0: [other], 1: [ending]})
    done = r.run("train")
    assert done.returncode == int(ending) and sentence in done.stderr
    assert len(r.calls("tpu_worker.sh run")) == 1 and r.slice is None and r.logs()["1.log"].endswith(f"with {ending}\n")


def test_three_crashes_end_the_run(rig):
    r = rig(endings={0: ["75"] * 9, 1: ["1"] * 9})
    done = r.run("train")
    assert done.returncode == 1 and "training crashed three times (exit status 1)" in done.stderr
    assert len(r.calls("tpu_worker.sh run")) == 3 and r.slice is None


def test_restarts_are_bounded(rig):
    r = rig(endings=["75"] * 9)
    done = r.run("train", "--max-restarts=2")
    assert done.returncode == 75 and "--max-restarts=2 are used up; rerun the same command to resume" in done.stderr
    assert len(r.calls("tpu_worker.sh run")) == 3 and r.slice is None


def test_a_failed_ssh_is_retried(rig):
    r = rig(silent=[1])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert "Failed to connect to worker 1" in done.stderr and len(r.calls("create")) == 1


def test_a_slice_with_a_silent_worker_is_replaced(rig):
    # mkdir, setup and run reach all; then three requests for the state fail.
    r = rig(lives=[ACTIVE, ACTIVE], endings=["never", "0"])
    r.say(**json.loads((r.cloud / "cloud.json").read_text()) | {"silent_after": 3, "silent": [1, 1, 1]})
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert "the slice or one of its workers is gone" in done.stderr
    assert len(r.calls("create")) == 2 and len(r.calls("tpu_worker.sh state")) >= 3


def test_a_machine_under_repair_is_waited_for(rig):
    r = rig(lives=[[*ACTIVE, "REPAIRING", "REPAIRING", "ACTIVE"]])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 1


def test_a_failed_install_is_reported_and_deletes_nothing(rig):
    r = rig()
    (r.cloud / "install_status").write_text("1")
    done = r.run("train", "--package=git+https://example.org/biggan_jax@1234567")
    assert (
        done.returncode == 2 and "training could not be started" in done.stderr and "to delete the slice" in done.stderr
    )
    assert "biggan-jax[tpu,gcs] @ git+https://example.org/biggan_jax@1234567" in (r.cloud / "installed").read_text()
    assert r.slice is not None


def test_training_survives_the_command_that_watches_it(rig):
    r = rig(endings=["never"])
    watching = subprocess.Popen(r.command("train"), cwd=r.folder, env=r.environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(r.calls("tpu_worker.sh state")) > 1)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 130 and "training on it continues" in watching.stderr.read()
    assert "its workers: running running" in r.run("status").stderr

    other = r.run("train", training=["--config=quickstart", "--workdir=gs://bucket/other"])
    assert other.returncode == 2 and "a training run with other arguments runs here" in other.stderr
    assert r.slice is not None, "nothing is deleted under a training"

    again = subprocess.Popen(r.command("train"), cwd=r.folder, env=r.environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "to watch:" in again.stderr.readline())
    assert r.run("stop").returncode == 0
    assert again.wait(30) == 75 and "training was stopped" in again.stderr.read()
    assert r.logs()["0.log"].count("training, ") == 1, "what runs is not started again"
    assert len(r.calls("create")) == 1 and r.slice is None


def test_each_stage_can_be_run_alone_and_repeated(rig):
    r = rig(lives=[ACTIVE, ACTIVE], endings=["0"])
    for verb in ("create", "create", "setup", "setup", "run"):
        done = r.run(verb)
        assert done.returncode == 0, (verb, done.stderr)
    assert len(r.calls("create")) == 1
    assert "attach my-run --zone=us-west4-a" in done.stderr and "delete my-run --zone=us-west4-a" in done.stderr
    assert r.run("attach").stdout == "training, to end with 0\n"
    wait_until(lambda: "its workers: 0 0" in r.run("status").stderr)
    assert r.run("logs").returncode == 0 and r.logs().keys() == {"0.log", "1.log"}
    assert r.run("delete").returncode == 0
    again = r.run("delete")
    assert again.returncode == 0 and "there is no my-run" in again.stderr and len(r.calls("delete")) == 1


def test_keep_keeps_the_slice_and_prints_how_to_delete_it(rig):
    r = rig()
    done = r.run("train", "--keep")
    assert done.returncode == 0 and r.slice is not None and "delete my-run --zone=us-west4-a" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_unreachable_at_first_are_reported_deletes_nothing(rig, workers):
    r = rig(workers=workers, silent=list(range(workers)) * 9)
    done = r.run("train")
    assert (
        done.returncode == 2 and "no worker of my-run answers" in done.stderr and "--ssh=--internal-ip" in done.stderr
    )
    assert r.slice is not None and len(r.calls("create")) == 1 and not r.calls("delete")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lost_connection_to_the_workers_is_waited_for(rig, workers):
    # mkdir, setup and run reach all; then no worker answers, five times.
    r = rig(workers=workers, silent_after=3, silent=list(range(workers)) * 5)
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("waiting, nothing is deleted") == 5
    assert len(r.calls("create")) == 1 and len(r.calls("tpu_worker.sh run")) == 1


def test_ssh_flags_are_in_every_call_and_every_hint(rig):
    r = rig()
    done = r.run("train", "--keep", "--ssh=--internal-ip", "--project=p q")
    assert done.returncode == 0, done.stderr
    reaching = r.calls("tpu-vm ssh") + r.calls("tpu-vm scp")
    assert len(reaching) >= 5 and all("--internal-ip" in call and "--project=p q" in call for call in reaching)
    for verb in ("attach", "stop", "delete"):
        assert f"{verb} my-run --zone=us-west4-a --project=p\\ q --ssh=--internal-ip" in done.stderr


def test_a_stop_before_training_handles_signals_holds(rig):
    # The signal kills it, because no handler is installed yet.
    r = rig(endings=["never", "0"])
    trainer = r.cloud / "trainer"
    trainer.write_text(trainer.read_text().replace("trap 'exit 75' TERM\n", ""))
    watching = subprocess.Popen(r.command("train"), cwd=r.folder, env=r.environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(r.calls("tpu_worker.sh state")) > 1)
    assert r.run("stop").returncode == 0
    assert watching.wait(30) == 75 and "training was stopped" in watching.stderr.read()
    assert len(r.calls("tpu_worker.sh run")) == 1 and r.slice is None


def test_a_slice_of_another_type_is_left_alone(rig):
    r = rig()
    assert r.run("create").returncode == 0
    done = r.run("train", type_="v5litepod-16")
    assert done.returncode == 2 and "exists as v5litepod-8, not as the v5litepod-16 of --type" in done.stderr
    assert r.slice is not None and not r.calls("tpu-vm ssh")


def test_a_failed_deletion_does_not_count_as_a_restart(rig):
    r = rig(lives=[["SUSPENDING", "SUSPENDED"], ACTIVE], undeletable=5)
    executable(r.folder / "bin" / "sleep", "#!/bin/sh\necho '[\"sleep\"]' >>$CLOUD/calls.jsonl\n")
    done = r.run("train", "--max-restarts=1")
    assert done.returncode == 0, done.stderr
    calls = r.calls()
    after = [calls[i + 1] for i, call in enumerate(calls[:-1]) if "delete" in call]
    assert after == [["sleep"]] * 6, "it pauses between two tries"
    assert done.stderr.count("deleting failed") == 5 and "(1 of at most 1)" in done.stderr


def test_a_slice_that_could_not_be_deleted_fails_the_run(rig):
    r = rig(undeletable=3)
    done = r.run("train")
    assert done.returncode == 1 and "the slice could not be deleted, and costs" in done.stderr
    assert r.slice is not None and len(r.calls("queued-resources delete")) == 3


def test_no_network_is_waited_for(rig):
    # The first call of `list` checks for a slice; later ones happen while it is acquired, set up and used.
    r = rig(blind=[4, 5, 8, 9, 10, 13])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert "waiting for my-run (unknown)" in done.stderr and len(r.calls("create")) == 1
    assert len(r.calls("queued-resources delete")) == 1


def test_no_network_at_first_is_reported(rig):
    r = rig(blind=[1])
    done = r.run("train")
    assert done.returncode == 2 and "gcloud failed" in done.stderr and not r.calls("create")


def test_the_state_unknown_is_waited_for(rig):
    r = rig(lives=[[*ACTIVE, "UNKNOWN", "UNKNOWN", "ACTIVE"]])
    done = r.run("train")
    assert done.returncode == 0, done.stderr
    assert len(r.calls("create")) == 1


def test_training_resumes_after_a_reboot(rig):
    r = rig(endings=["never", "0"])
    watching = subprocess.Popen(r.command("train"), cwd=r.folder, env=r.environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(r.calls("tpu_worker.sh state")) > 1)
    for worker in r.slice["workers"]:
        os.killpg(os.getpgid(int((pathlib.Path(worker) / "biggan_jax" / "pid").read_text())), signal.SIGKILL)
    said = watching.stderr.read()
    assert watching.wait(60) == 0 and "was interrupted, or lost a worker; again" in said, said
    assert len(r.calls("create")) == 1 and len(r.calls("tpu_worker.sh run")) == 2
