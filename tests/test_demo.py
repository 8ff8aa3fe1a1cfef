import json

import pytest
from PIL import Image

from tests.cli import devices, run

KEYS = {
    "class_agreement",
    "frechet_distance",
    "real_class_agreement",
    "untrained_class_agreement",
    "classifier_heldout_accuracy",
    "train_seconds",
    "steps",
    "seed",
}


def read(out):
    report = json.loads((out / "report.json").read_text())
    assert report.keys() >= KEYS
    assert "Not Inception FID" in report["protocol"]
    assert Image.open(out / "samples.png").size[0] >= 256
    assert (out / "checkpoints" / str(report["steps"])).is_dir()
    return report


def test_a_short_demo_writes_all_files_and_can_be_repeated(tmp_path, classifier):
    out = tmp_path / "demo"
    short = f"--out={out}", "--seed=3", "--config.num_steps=2", "--config.sample_every=0", "--config.model.ch=2"
    short += ("--config.d_steps=1",)
    result = run("demo", *short, **devices(1))
    assert result.returncode == 0, result.stderr
    first = read(out)
    assert first["steps"] == 2 and first["seed"] == 3 and first["classifier_heldout_accuracy"] >= 0.96
    for name in ("samples.png", "checkpoints/", "report.json"):
        assert f"{out}/{name}" in result.stdout
    assert run("demo", *short, **devices(1)).returncode == 0
    assert read(out) == first, "includes train_seconds, although the second call trains no step"


@pytest.mark.slow
def test_the_demo_reaches_its_targets(tmp_path):
    result = run("demo", f"--out={tmp_path}", limit=1200, XLA_FLAGS="")
    assert result.returncode == 0, result.stderr
    report = read(tmp_path)
    assert report["class_agreement"] >= 0.93
    assert report["untrained_class_agreement"] < 0.3
    assert report["frechet_distance"] < 30
