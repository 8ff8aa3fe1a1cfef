import json
import pathlib

import pytest

from biggan_jax.plan import report, slices
from biggan_jax.types import UserError
from tests import cli
from tests.conftest import tiny_config

PLANS = pathlib.Path(__file__).parent.parent.parent / "docs" / "plans"


def test_a_slice_is_found_by_type_and_by_topology():
    for name, topology, chips, hosts in [
        ("v4-128", "v4:4x4x4", 64, 16),
        ("v5litepod-256", "v5e:16x16", 256, 64),
        ("v5p-8", "v5p:2x2x1", 4, 1),
        ("v6e-1", "v6e:1x1", 1, 1),
        ("v3-256", "v3:8x16", 128, 32),
        ("tpu7x-128", "tpu7x:4x4x4", 64, 16),
    ]:
        found = slices.named(name)
        assert (found.topology, found.chips, found.hosts) == (topology, chips, hosts)
        assert slices.named(topology) is found


def test_stored_plans_are_of_the_slices_in_their_names():
    for path in PLANS.glob("biggan*.json"):
        plan = json.loads(path.read_text())
        version, size = path.stem.split("-")[1:3]
        assert slices.named(f"{version.replace('v5e', 'v5litepod')}-{size}").topology == plan["target"], path.name


def test_an_unknown_slice_is_refused_with_the_known_ones():
    with pytest.raises(
        UserError, match="v5litepod-25 is not the name of a TPU slice; known are v5litepod-1, .*v5litepod-256"
    ):
        slices.named("v5litepod-25")
    with pytest.raises(UserError, match="known are v4-N, v5litepod-N"):
        slices.named("v9-8")


def test_the_line_for_launchers_has_a_word_for_each_field():
    assert cli.run("plan.slices", "tpu7x-16").stdout == "tpu7x-16 tpu7x:2x2x2 2x2x2 8 2 tpu7x -\n"
    done = cli.run("plan.slices", "v4-7")
    assert (
        done.returncode == 2
        and done.stderr.startswith("slices: error: v4-7 is not the name")
        and done.stderr.count("\n") == 1
    )


def test_a_plan_in_one_line():
    plan = json.loads((PLANS / "biggan_deep_128-v5e-256-2048.json").read_text())
    assert report.brief(plan) == (
        "v5e:16x16: 256 chips x 2 h = 513 chip-hours for 150,000 steps, by the compiler's estimate;"
        " fits: 1.41 GB of 17.2 GB per device, 23.5 MB of it for the state"
    )
    assert "DOES NOT FIT: 1.41 GB of 17.2 GB" in report.brief(plan | {"fits": False})
    assert "256 chips for 150,000 steps, for an unknown time;" in report.brief(plan | {"estimated_hours": None})


def test_short_runs_have_small_units():
    plan = json.loads((PLANS / "biggan_deep_128-v5e-256-2048.json").read_text())
    for hours, expected in [
        (1.0, "256 chips x 1 h = 256 chip-hours"),
        (0.5, "256 chips x 30 min = 7,680 chip-minutes"),
        (0.00028, "256 chips x 1 s = 258 chip-seconds"),
    ]:
        line = report.brief(plan | {"estimated_hours": hours, "hbm_bytes_per_device": 4_560_000})
        assert f"{expected} for 150,000 steps" in line and "fits: 4.6 MB of 17.2 GB per device" in line


def test_brief_without_a_compiler_says_what_to_install():
    line = report.brief_without_compiler(tiny_config(), "v6e:1x1", 1, UserError("planning needs a compiler"))
    assert (
        line
        == "v6e:1x1: 1 chip for 4 steps, for an unknown time; whether it fits is unknown: planning needs a compiler"
    )


@pytest.fixture
def no_compiler(tmp_path):
    """An environment in which libtpu cannot be imported."""
    (tmp_path / "libtpu.py").write_text("raise ImportError('hidden')")
    return {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}


def test_without_a_compiler_only_brief_succeeds(no_compiler, monkeypatch):
    for name, value in no_compiler.items():
        monkeypatch.setenv(name, value)
    command = ["plan", "--config=quickstart", "--topology=v5litepod-16"]
    done = cli.run_alone(*command, "--brief")
    assert done.returncode == 0 and done.stdout.startswith("v5e:4x4: 16 chips for 1,200 steps"), done.stderr
    assert "pip install 'biggan-jax[plan]'" in done.stdout
    done = cli.run_alone(*command)
    assert done.returncode == 2 and done.stdout == "" and "planning for TPUs needs their compiler" in done.stderr
