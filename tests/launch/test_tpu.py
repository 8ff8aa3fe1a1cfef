"""launch/tpu.sh: the options of training, and slices by name."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = f"""
set -euo pipefail
. {ROOT}/launch/common.sh
. {ROOT}/launch/tpu.sh
read_training --workdir=gs://bucket/run "$1"
printf '%s\\n' "$config_file" "${{planned[*]}}" "${{training[-1]}}"
"""


@pytest.mark.parametrize(
    "given, file, workers",
    [
        ("--config=my/mine.py", "my/mine.py", "--config=mine.py"),
        ("--config=my/mine.py:256:x", "my/mine.py", "--config=mine.py:256:x"),
        ("--config=finetune:gs://bucket/other", "", "--config=finetune:gs://bucket/other"),
        ("--config_json=my/at_12:30.json", "my/at_12:30.json", "--config_json=at_12:30.json"),
    ],
)
def test_a_config_file_is_copied_and_found_by_its_name(tmp_path, given, file, workers):
    (tmp_path / "my").mkdir()
    for name in ("mine.py", "at_12:30.json"):
        (tmp_path / "my" / name).touch()
    done = subprocess.run(["bash", "-c", SCRIPT, "launcher", given], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [file, given, workers], done.stderr


@pytest.mark.parametrize("name", ["v5litepod-8", "v5e:2x4"])
def test_a_slice_is_requested_by_cloud_tpus_name(name):
    script = f'. {ROOT}/launch/common.sh; . {ROOT}/launch/tpu.sh; look_up "$1"; echo "$type $shape $hosts"'
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-c", script, "launcher", name], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith("v5litepod-8 2x4 "), done.stderr
