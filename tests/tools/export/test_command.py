"""The export command, as a user runs it."""

import json

import pytest

from tests.cli import refused, run


@pytest.fixture(scope="module")
def made(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "set"
    result = run("export", f"--checkpoint={workdir}", "--statistics=running", "--per_class=2", f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert f"20 images of step 0 in {out}, 2 per class" in result.stdout
    return out


def test_a_set_says_what_made_it(made, workdir):
    said = json.loads((made / "export.json").read_text())
    assert said["step"] == 0 and said["checkpoint"].startswith(str(workdir)) and said["truncation"] is None
    assert said["images"] == 20 and said["images_per_class"]["9"] == 2


def test_an_existing_set_is_not_overwritten(made, workdir):
    refused(run("export", f"--checkpoint={workdir}", "--per_class=3", f"--out={made}"), "not an empty folder")


def test_a_count_is_needed(workdir, tmp_path):
    refused(run("export", f"--checkpoint={workdir}", f"--out={tmp_path / 'x'}"), "either --per_class or --balance_with")
