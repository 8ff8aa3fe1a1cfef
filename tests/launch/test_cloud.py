"""The simulated gcloud and the launcher against the parser of the real gcloud, if installed; it needs no network."""

import json
import os
import shlex
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.launch

REAL = shutil.which("gcloud")


def lint(commands):
    """Return the verdict of gcloud's parser on each command."""
    said = []
    environment = os.environ | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    for command in commands:
        words = [REAL, "meta", "lint-gcloud-commands", f"--command-string=gcloud {shlex.join(command)}"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
        (verdict,) = json.loads(done.stdout)
        said.append((verdict["success"], verdict["error_message"] or ""))
    return said


@pytest.mark.skipif(not REAL, reason="the Google Cloud CLI is not installed")
def test_gcloud_accepts_the_launchers_commands(rig):
    r = rig(endings=["0"])
    assert r.run("train", "--spot", "--project=p", "--create=--network=n").returncode == 0
    calls = {" ".join(call[:4]) + (call[6] if "ssh" in call else ""): call for call in r.calls()}
    assert len(calls) >= 6
    for call, (fine, why) in zip(calls.values(), lint(calls.values()), strict=True):
        assert fine, (call, why)


WRONG = [
    "queued-resources create q --zone=z --node-id=q --accelerator-type=v4-8 --runtime-version=r --spott",
    "queued-resources create q --zone=z --node-id=q --accelerator-type=v4-8",
    "queued-resources create q --zone=z --accelerator-type=v4-8 --runtime-version=r",
    "queued-resources create q --zone=z --node-id=q --runtime-version=r",
    "queued-resources delete q --zone=z --forse",
    "queued-resources list --zone=z --name=q",
    "tpu-vm ssh q --zone=z --worker=all --batch-size=4",
    "tpu-vm ssh --zone=z",
    "tpu-vm scp a --zone=z",
    "tpu-vm sssh q --zone=z",
]


@pytest.mark.parametrize("command", WRONG)
def test_the_simulated_gcloud_refuses_wrong_commands(rig, command):
    done = rig().execute(["gcloud", "compute", "tpus", *command.split()])
    assert done.returncode == 2 and "ERROR" in done.stderr


@pytest.mark.skipif(not REAL, reason="the Google Cloud CLI is not installed")
@pytest.mark.parametrize("command", WRONG)
def test_gcloud_refuses_wrong_commands(command):
    ((fine, why),) = lint([["compute", "tpus", *command.split()]])
    assert not fine and why
