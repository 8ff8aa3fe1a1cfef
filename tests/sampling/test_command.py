"""Which classes and seeds `biggan-sample` draws, as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image

from biggan_jax.config import base
from tests.cli import refused, run
from tests.conftest import untrained_run

NAMES = [f"kind {i}" for i in range(20)]


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """An untrained dense model of 20 classes, whose names its run has recorded."""
    config = base("cgan")
    config.model.update(image_shape=(4, 4, 1), num_classes=20, hidden=8, units=4, dim_z=3)
    config.data.name = "fake"
    folder = untrained_run(tmp_path_factory.mktemp("run"), config)
    (folder / "data.json").write_text(json.dumps({"class_names": NAMES}))
    return folder


def drawn(twenty, out, *arguments):
    """Draw into `out` without standing statistics; return what the command printed."""
    result = run("sample", f"--checkpoint={twenty}", "--statistics=running", f"--out={out}", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_npz_has_all_classes_in_turn_and_a_sheet_ten(twenty, tmp_path):
    said = drawn(twenty, tmp_path / "a.npz", "--num=200")
    assert "200 images of 20 classes (0 = kind 0, 1 = kind 1, " in said and "..., 19 = kind 19)" in said
    assert np.load(tmp_path / "a.npz")["y"].tolist() == [*range(20)] * 10
    assert "80 images of 10 classes" in drawn(twenty, tmp_path / "a.png")
    assert "4 images of 4 of the 20 classes" in drawn(twenty, tmp_path / "b.npz", "--num=4")


@pytest.mark.parametrize(
    ("given", "ids"),
    [("all", [*range(20)]), ("3-5,0", [3, 4, 5, 0]), ("kind 7,2", [7, 2])],
)
def test_classes_are_chosen_by_range_or_name(twenty, tmp_path, given, ids):
    drawn(twenty, tmp_path / "a.npz", f"--classes={given}", f"--num={2 * len(ids)}")
    assert np.load(tmp_path / "a.npz")["y"].tolist() == ids * 2


def test_an_unknown_name_is_told_the_nearest(twenty, tmp_path):
    result = run("sample", f"--checkpoint={twenty}", f"--out={tmp_path / 'a.npz'}", "--classes=knd 7")
    refused(result, "class 'knd 7' is unknown; did you mean 'kind 7'")


@pytest.mark.parametrize("labels", ["uniform", "data"])
def test_labels_may_be_drawn_at_random(twenty, tmp_path, labels):
    drawn(twenty, tmp_path / "a.npz", f"--labels={labels}", "--num=400", "--classes=0-3")
    counts = np.bincount(np.load(tmp_path / "a.npz")["y"])
    assert len(counts) == 4 and counts.min() > 60 and len(set(counts)) > 1


def test_an_image_of_a_seed_does_not_depend_on_other_seeds(twenty, tmp_path):
    said = drawn(twenty, tmp_path / "many", "--seeds=0-9,20")
    assert "11 images of " in said and len(list((tmp_path / "many").iterdir())) == 11
    drawn(twenty, tmp_path / "one", "--seeds=20")
    file = "seed0020.png"
    assert (tmp_path / "many" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()
    assert Image.open(tmp_path / "one" / file).size == (4, 4), "it is not enlarged"
    drawn(twenty, tmp_path / "a.npz", "--seeds=20,3")
    stored = np.load(tmp_path / "a.npz")
    assert stored["seeds"].tolist() == [20, 3]
    np.testing.assert_array_equal(stored["arr_0"][0, ..., 0], np.asarray(Image.open(tmp_path / "one" / file)))
    drawn(twenty, tmp_path / "b.npz", "--num=1", "--seed=20")
    np.testing.assert_array_equal(stored["z"][:1], np.load(tmp_path / "b.npz")["z"])


def test_a_seed_may_be_drawn_in_several_classes(twenty, tmp_path):
    drawn(twenty, tmp_path / "two", "--seeds=5,6", "--classes=3,kind 12")
    drawn(twenty, tmp_path / "two", "--seeds=7", "--classes=3")
    expected = ["seed0005_class0003.png", "seed0005_class0012.png", "seed0006_class0003.png", "seed0006_class0012.png"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [*expected, "seed0007.png"]
    again = run("sample", f"--checkpoint={twenty}", f"--out={tmp_path / 'two'}", "--seeds=5")
    refused(again, "has seed0005_class0003.png already; give another folder")


def test_a_folder_gets_one_file_an_image(twenty, tmp_path):
    drawn(twenty, tmp_path / "folder", "--num=3")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    again = run("sample", f"--checkpoint={twenty}", f"--out={tmp_path / 'folder'}", "--num=2")
    refused(again, "has 00000.png already")
