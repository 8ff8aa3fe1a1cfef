"""The benchmark commands: their figures must be consistent; no speed is asserted."""

import importlib.util
import json
import pathlib

import pytest

from tests import cli
from tests.cli import devices, refused
from tests.test_train import TINY

FOLDER = pathlib.Path(__file__).parent.parent / "benchmarks"
SCRIPT = FOLDER / "train_step.py"
QUICK = f"--config={TINY}", "--config.data.name=fake", "--warmup=1", "--steps=3"


def run(*arguments, script=SCRIPT, **environment):
    return cli.run(script, *arguments, limit=600, **environment)


def measured(tmp_path, *arguments):
    """(the command's JSON file, its output)."""
    result = run(*QUICK, f"--json={tmp_path / 'out.json'}", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads((tmp_path / "out.json").read_text()), result.stdout


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("tiny"), "--peak=1e12")


def test_the_report_names_measurements_and_hardware(tiny):
    report, printed = tiny
    assert report["config"] == "tiny" and report["overrides"] == {"data.name": "fake"}
    assert report["device_kind"] == "cpu" and report["devices"] == 8
    assert report["versions"].keys() == {"python", "jax", "jaxlib", "flax", "optax", "numpy"}
    assert (report["batch_size"], report["d_steps"], report["resolution"]) == (16, 1, 16)
    assert (report["steps_warmup"], report["steps_timed"]) == (1, 3)
    for name in ("step_seconds", "images_per_second", "compile_seconds", "useful_flops", "mfu", "peak_memory_bytes"):
        assert report[name] > 0, name
        assert f"{name} " in printed


def test_the_figures_are_consistent(tiny):
    report, _ = tiny
    assert report["step_seconds_fastest"] <= report["step_seconds"] <= report["step_seconds_slowest"]
    assert report["images_per_second"] == pytest.approx(16 / report["step_seconds"])
    assert report["peak_flops_per_device"] == 1e12 and report["peak_flops_source"] == "--peak"
    assert report["mfu"] == pytest.approx(report["useful_flops"] / report["step_seconds"] / 8e12)
    assert "the compiler's plan" in report["peak_memory_source"]


@pytest.mark.slow
def test_flops_do_not_depend_on_the_mesh_and_mfu_needs_a_peak(tiny, tmp_path):
    report, printed = measured(tmp_path, "--config.mesh.data=4", "--config.mesh.fsdp=2")
    assert report["useful_flops"] == tiny[0]["useful_flops"]
    assert report["mfu"] is None and "unknown for cpu: give --peak" in printed


@pytest.mark.slow
def test_a_sweep_fits_a_line_to_time_against_work(tmp_path):
    report, printed = measured(tmp_path, "--sweep=batch:2,8,4")
    rows, line = report["rows"], report["line"]
    assert [row["batch_size"] for row in rows] == [2, 4, 8]
    assert all(row["devices"] == 1 for row in rows)
    work = [row["useful_flops"] for row in rows]
    # Spectral norm and the optimiser cost the same for any batch; the networks' work doubles with it.
    assert work[1] - work[0] == pytest.approx((work[2] - work[1]) / 2, rel=0.01)
    for row in rows:
        expected = line["intercept_seconds"] + line["seconds_per_flop"] * row["useful_flops"]
        assert row["residual"] == pytest.approx(expected / row["step_seconds"] - 1)
    assert line["largest_relative_residual"] == max(abs(row["residual"]) for row in rows)
    assert "largest relative residual" in printed


@pytest.mark.slow
def test_a_sweep_of_resolutions_keeps_other_options(tmp_path):
    no_attention = "--config.model.g_attention=()", "--config.model.d_attention=()"
    report, _ = measured(tmp_path, "--sweep=resolution:16,32,64", "--config.model.ch=1", *no_attention)
    rows = report["rows"]
    assert [row["resolution"] for row in rows] == [16, 32, 64]
    assert rows[0]["useful_flops"] < rows[1]["useful_flops"] < rows[2]["useful_flops"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config.batchsize=8"], "config key batchsize is unknown; did you mean batch_size?"),
        (["--config.batch_size=12"], "batch_size 12 is not divisible by 8 devices"),
        (["--peek=1"], "Unknown command line flag 'peek'"),
        (["--peak=-1"], "--peak=-1"),
        (["--json=nowhere/out.json"], "--json=nowhere/out.json: the folder does not exist"),
        (["--sweep=batch:1,2"], "--sweep=batch:1,2 is neither batch:8,16,32 nor resolution:32,64,128"),
        (["--topology=v5e:1x1"], "--topology is for --sweep; for a single step use biggan-plan"),
        (["--sweep=width:1,2,3"], "--sweep=width:1,2,3 is neither"),
        (["--sweep=resolution:16,32,48"], "model.resolution 48 is unknown"),
    ],
)
def test_a_user_error_is_one_sentence(arguments, sentence):
    refused(run(*QUICK, *arguments), sentence)


def test_a_config_is_required():
    refused(run(), "--config is needed")


@pytest.mark.plan
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed")
def test_a_sweep_for_an_absent_tpu_fits_compiled_cycles(tmp_path):
    report, _ = measured(tmp_path, "--sweep=batch:8,16,32", "--topology=v5e:1x1")
    assert report["device_kind"] == "TPU v5 lite" and "libtpu" in report["compiler"]
    cycles = [row["step_cycles"] for row in report["rows"]]
    assert 0 < cycles[0] < cycles[1] < cycles[2] and all(row["estimated"] for row in report["rows"])
    refused(run(*QUICK, "--sweep=batch:8,16,32", "--topology=v5e:2x2"), "has 4 devices; a sweep needs one")


def test_samples_features_and_statistics_are_measured(tmp_path):
    options = "--config=digits", "--network=efficientnet-lite0", "--batch_size=1", "--batches=1"
    result = run(*options, f"--json={tmp_path / 'f.json'}", script=FOLDER / "sampling.py", **devices(2))
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["batch"] == 2 and report["network"] == "efficientnet-lite0"
    for name in ("sample", "features", "standing pass"):
        assert report[name]["images_per_second"] > 0 and report[name]["images_per_cpu_second"] > 0
