"""Small models of every family learn digits or points: benchmarks/families.py and its recorded figures."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, benchmark_script


@pytest.fixture(scope="module")
def script():
    return benchmark_script("families")


def recorded():
    """Return {name: figures} of each run."""
    return json.loads((ROOT / "benchmarks/results/families.json").read_text())


def test_each_run_is_recorded_and_reaches_its_bars(script):
    assert recorded().keys() == script.RUNS.keys()
    for name, found in recorded().items():
        assert found["steps"] == script.config_of(name).num_steps, name
        assert found["passes"] and script.passes(found), name


@pytest.mark.parametrize("worse", [{"class_agreement": 0.89}, {"class_deviation": 0.49}])
def test_a_conditional_model_below_a_bar_fails(script, worse):
    good = recorded()["sagan"]
    assert script.passes(good) and not script.passes(good | worse)


@pytest.mark.parametrize("worse", [{"histogram_entropy": 2.07}, {"share_of_untrained_distance": 0.11}])
def test_an_unconditional_model_below_a_bar_fails(script, worse):
    good = recorded()["gan"]
    assert script.passes(good) and not script.passes(good | worse)


@pytest.mark.parametrize("worse", [{"near": 0.79}, {"modes": 7}])
def test_points_below_a_bar_fail(script, worse):
    good = recorded()["gaussians8"]
    assert script.passes(good) and not script.passes(good | worse)


@pytest.mark.slow
@pytest.mark.parametrize("name", recorded())
def test_a_small_model_learns(name, tmp_path):
    """Minutes each."""
    command = [sys.executable, "benchmarks/families.py", f"--only={name}", f"--out={tmp_path}"]
    plain = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}  # One device.
    subprocess.run([*command, f"--results={tmp_path / 'found.json'}"], cwd=ROOT, env=plain, check=True)
    assert json.loads((tmp_path / "found.json").read_text())[name]["passes"]
