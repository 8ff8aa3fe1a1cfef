"""launch/tpu_pod.sh against tests/launch/cloud.py: its commands and refusals. Whole runs: test_tpu_pod_runs.py."""

import os
import pathlib
import pty
import subprocess

import pytest

from tests.launch.rig import LINE, ROOT, SCRIPT, wait_until


def test_train_runs_all_stages_and_leaves_nothing(rig):
    r = rig(lives=[["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]])
    awkward = "--config.data.dir=a b'c\"d$HOME;*"
    done = r.run("train", "--spot", training=["--config=quickstart", "--workdir=gs://bucket/run", awkward])
    assert done.returncode == 0, done.stderr
    assert LINE in done.stderr and done.stderr.endswith("tpu_pod.sh: done\n")
    for worker in range(2):
        given = (r.cloud / f"arguments.{worker}").read_text().splitlines()
        assert given == [
            "-m",
            "biggan_jax.main",
            "--multihost",
            "--on_damage=fallback",
            "--config=quickstart",
            "--workdir=gs://bucket/run",
            awkward,
        ]
    assert awkward in (r.cloud / "planned").read_text().splitlines()
    (create,) = r.calls("queued-resources create")
    assert {
        "--spot",
        "--accelerator-type=v5litepod-8",
        "--runtime-version=v2-alpha-tpuv5-lite",
        "--node-id=my-run",
    } <= set(create)
    assert r.logs() == {f"{worker}.log": "training, to end with 0\n" for worker in range(2)}
    assert r.slice is None and len(r.calls("queued-resources delete", "--force")) == 1


def test_nothing_is_created_without_confirmation(rig):
    r = rig()
    done = r.execute([word for word in r.command("train") if word != "--yes"])
    assert done.returncode == 2 and LINE in done.stderr and "--yes" in done.stderr and "Traceback" not in done.stderr
    assert not r.calls("create")


@pytest.mark.parametrize("answer, status", [("n\n", 2), ("\n", 2), ("yes\n", 0)])
def test_the_answer_on_the_terminal_decides(rig, answer, status):
    r = rig()
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    command = [word for word in r.command("create") if word != "--yes"]
    done = subprocess.run(
        command, cwd=r.folder, env=r.environment, stdin=theirs, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status and "Go on?" in done.stderr, done.stderr
    assert len(r.calls("create")) == (status == 0)


def test_a_model_that_does_not_fit_needs_anyway(rig):
    r = rig()
    (r.cloud / "plan_status").write_text("1")
    done = r.run("create")
    assert done.returncode == 2 and f"{LINE}; use --anyway to create it" in done.stderr and not r.calls("create")
    assert r.run("create", "--anyway").returncode == 0 and len(r.calls("create")) == 1


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["train", "my-run", "--type=v4-8"], "--zone is needed"),
        (["train", "my-run", "--zone=z", "--", "--config=x", "--workdir=gs://x/y"], "--type is needed"),
        (["train", "My Run", "--zone=z", "--type=v4-8"], "not 'My Run'"),
        (["train", "my-run", "--zone=z", "--type=v4-8"], "the options of training go after --"),
        (["train", "my-run", "--zone=z", "--type=v4-8", "--", "--config=x", "--workdir=runs/x"], "not 'runs/x'"),
        (
            ["train", "my-run", "--zone=z", "--type=v4-8", "--", "--workdir=gs://x/y"],
            "the options of training go after --",
        ),
        (["train", "my-run", "--zone=z", "--type=v4-8", "--", "--config", "x"], "--name=value, not 'x'"),
        (["train", "my-run", "--zone=z", "--spot", "--reserved"], "one of --spot and --reserved"),
        (["train", "my-run", "--zone=z", "--poll=soon"], "--poll=soon is not a number"),
        (["setup", "my-run", "--zone=z", "--package=mine.whl"], "--package=mine.whl is not there"),
        (["train", "my-run", "--zone=z", "--sppot"], "--sppot is not an option"),
        (["traiin", "my-run"], "traiin is not train,"),
    ],
)
def test_a_user_error_is_one_sentence_and_calls_no_cloud(rig, words, sentence):
    r = rig()
    done = r.execute([SCRIPT, *words])
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
    assert not r.calls()


def test_unknown_and_gke_only_slices_are_refused(rig):
    r = rig()
    done = r.run("train", type_="v5litepod-9")
    assert done.returncode == 2 and "v5litepod-9 is not the name of a TPU slice; known are v5litepod-1" in done.stderr
    done = r.run("train", type_="tpu7x-8")
    assert done.returncode == 2 and "launch/gke_jobset.sh" in done.stderr
    assert not r.calls("create")


def test_a_config_file_is_copied_to_the_workers(rig):
    r = rig(endings=["never"])
    mine = r.folder / "some where" / "my config.py"
    mine.parent.mkdir()
    mine.write_text("text of mine")
    assert r.run("create").returncode == 0
    training = [f"--config={mine}", "--workdir=gs://bucket/run"]
    done = r.run("setup", "--", *training)
    assert done.returncode == 0, done.stderr
    done = r.run("run", training=training)
    assert done.returncode == 0, done.stderr
    wait_until((r.cloud / "arguments.1").exists)
    assert "--config=my config.py" in (r.cloud / "arguments.1").read_text().splitlines()
    assert (pathlib.Path(r.slice["workers"][1]) / "biggan_jax" / "my config.py").read_text() == "text of mine"


def test_a_dry_run_prints_commands_that_do_the_same(rig):
    r = rig()
    awkward = "--config.data.dir=a b'c\"d$HOME;*"
    training = ["--config=quickstart", "--workdir=gs://bucket/run", awkward]
    done = r.run("train", "--dry-run", "--create=--labels=a=b", training=training)
    assert done.returncode == 0 and LINE in done.stderr, done.stderr
    assert not r.calls()
    for line in done.stdout.splitlines():
        if " delete " in line:
            wait_until(r.all_have_ended)
        ran = r.execute(["bash", "-c", line])
        assert ran.returncode == 0, (line, ran.stderr)
        while " create " in line and r.slice["life"][0] != "ACTIVE":
            r.execute(r.looks_at("queued-resources", "state.state"))
    assert (r.cloud / "arguments.1").read_text().splitlines()[-1] == awkward
    assert r.slice is None


def test_a_wheel_is_built_without_files_of_an_earlier_build(rig):
    lines = rig().run("setup", "--dry-run").stdout.splitlines()
    (built,) = (i for i, line in enumerate(lines) if " pip wheel " in line)
    assert f"rm -rf {ROOT}/build/lib" in lines[:built]
