import json
import pathlib
import subprocess
import sys

import pytest

from biggan_jax.plan import report, slices
from biggan_jax.types import UserError
from tests.conftest import tiny_config

PLANS = pathlib.Path(__file__).parent.parent.parent / "docs" / "plans"


@pytest.mark.parametrize(
    "name, topology, chips, hosts",
    [
        ("v4-128", "v4:4x4x4", 64, 16),
        ("v5litepod-256", "v5e:16x16", 256, 64),
        ("v5p-8", "v5p:2x2x1", 4, 1),
        ("v6e-1", "v6e:1x1", 1, 1),
        ("v3-256", "v3:8x16", 128, 32),
        ("tpu7x-128", "tpu7x:4x4x4", 64, 16),
    ],
)
def test_a_slice_is_found_by_either_of_its_names(name, topology, chips, hosts):
    found = slices.named(name)
    assert (found.topology, found.chips, found.hosts) == (topology, chips, hosts)
    assert slices.named(topology) is found


def test_plans_were_made_for_the_slices_that_their_names_say():
    for path in PLANS.glob("*.json"):
        plan = json.loads(path.read_text())
        version, size = path.stem.split("-")[1:3]
        assert slices.named(f"{version.replace('v5e', 'v5litepod')}-{size}").topology == plan["target"], path.name


def test_an_unknown_slice_is_answered_with_those_there_are():
    with pytest.raises(
        UserError, match="v5litepod-25 is no TPU slice with a name; such are v5litepod-1, .*v5litepod-256"
    ):
        slices.named("v5litepod-25")
    with pytest.raises(UserError, match="such are v4-N, v5litepod-N"):
        slices.named("v9-8")


def test_the_launchers_line_has_a_word_for_each_field():
    command = [sys.executable, "-m", "biggan_jax.plan.slices"]
    done = subprocess.run([*command, "tpu7x-16"], capture_output=True, text=True)
    assert done.stdout == "tpu7x-16 tpu7x:2x2x2 2x2x2 8 2 tpu7x -\n"
    done = subprocess.run([*command, "v4-7"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("slices: error: v4-7 is no") and done.stderr.count("\n") == 1


def test_a_plan_in_one_line():
    plan = json.loads((PLANS / "biggan_deep_128-v5e-256-2048.json").read_text())
    assert report.brief(plan) == (
        "v5e:16x16: 256 chips x 2.1 h = 537 chip-hours for 150,000 steps, by the compiler's estimate;"
        " fits: 1.69 GB of 17.2 GB a device, 23.5 MB of it the state's"
    )
    assert "DOES NOT FIT: 1.69 GB of 17.2 GB" in report.brief(plan | {"fits": False})
    assert "256 chips for 150,000 steps, for how long nobody can know;" in report.brief(
        plan | {"estimated_hours": None}
    )


@pytest.mark.parametrize(
    "hours, said",
    [
        (1.0, "256 chips x 1 h = 256 chip-hours"),
        (0.5, "256 chips x 30 min = 7,680 chip-minutes"),
        (0.00028, "256 chips x 1 s = 258 chip-seconds"),
    ],
)
def test_small_games_are_told_in_small_units(hours, said):
    plan = json.loads((PLANS / "biggan_deep_128-v5e-256-2048.json").read_text())
    line = report.brief(plan | {"estimated_hours": hours, "hbm_bytes_per_device": 4_560_000})
    assert f"{said} for 150,000 steps" in line and "fits: 4.6 MB of 17.2 GB a device" in line


def test_without_a_compiler_the_line_says_what_is_known_and_what_to_install():
    line = report.unplanned(tiny_config(), slices.named("v6e-1"), UserError("planning needs a compiler"))
    assert (
        line
        == "v6e:1x1: 1 chip for 4 steps, for how long is not known, nor whether they fit: planning needs a compiler"
    )


@pytest.fixture
def no_compiler(tmp_path):
    """An environment in which libtpu cannot be imported."""
    (tmp_path / "libtpu.py").write_text("raise ImportError('hidden')")
    return {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}


def test_brief_is_no_failure_without_a_compiler_and_all_else_is(no_compiler, monkeypatch):
    for name, value in no_compiler.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "biggan_jax.plan", "--config=quickstart", "--topology=v5litepod-16"]
    done = subprocess.run([*command, "--brief"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("v5e:4x4: 16 chips for 1,200 steps"), done.stderr
    assert "pip install 'biggan-jax[plan]'" in done.stdout
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and "planning for TPUs needs their compiler" in done.stderr
