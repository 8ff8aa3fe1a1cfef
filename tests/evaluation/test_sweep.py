import csv

import pytest
from etils import epath
from PIL import Image

from biggan_jax.evaluation import sweep
from biggan_jax.evaluation.sweep import Point
from biggan_jax.flags import values
from biggan_jax.types import UserError
from tests.evaluation.test_results import FID

POINTS = [
    Point(0.1, 30.0, 200.0, 2.0),
    Point(0.5, 9.0, 160.0, 2.0),
    Point(0.9, 8.0, 120.0, 2.0),
    Point(None, 8.7, 98.8, 2.0),
]


def test_thresholds_are_evenly_spread_and_hold_both_ends():
    assert values.thresholds_of("0.05:1.0:20") == pytest.approx([0.05 * i for i in range(1, 21)])


@pytest.mark.parametrize(
    "text", ["0:1:5", "1:0.5:5", "0.1:1", "0.1:1:1", "a:b:c", "0.1:inf:3", "0.1:nan:3", "0.1:1:5:6"]
)
def test_an_invalid_range_is_refused(text):
    with pytest.raises(UserError, match="is not LOW:HIGH:COUNT"):
        values.thresholds_of(text)


def test_the_papers_four_columns_are_marked():
    marks = sweep.marked(POINTS, score_of_real=166.0)
    assert {name: point.truncation for name, point in marks.items()} == {
        "no truncation": None,
        "best distance": 0.9,
        "score of real images": 0.5,
        "best score": 0.1,
    }
    assert "score of real images" not in sweep.marked(POINTS, float("nan"))
    beyond = sweep.marked(POINTS, 300.0)
    assert "score of real images" not in beyond and "does not reach the IS of real images" in sweep.lines(
        beyond, FID, 300.0
    )


def test_the_best_score_may_be_that_without_truncation():
    marks = sweep.marked([*POINTS, Point(None, 8.7, 298.8, 2.0)], 166.0)
    assert marks["best score"].truncation is None


def test_curve_and_figures_are_stored(tmp_path):
    marks = sweep.store(epath.Path(tmp_path), "sweep", POINTS, FID, 166.0)
    lines = (tmp_path / "sweep.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["truncation"] for row in rows] == ["0.1", "0.5", "0.9", "none"]
    assert float(rows[2]["frechet_distance"]) == 8.0 and rows[2]["marked"] == "best distance"
    assert any("inception-2015" in line for line in lines if line.startswith("#"))
    assert Image.open(tmp_path / "sweep.png").size[0] > 600
    assert "FID" in sweep.lines(marks, FID, 166.0) and "reach" not in sweep.lines(marks, FID, 166.0)
