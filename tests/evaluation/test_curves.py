"""Curves of scores over the steps of a run."""

import dataclasses

from etils import epath
from PIL import Image

from biggan_jax.evaluation import curves, results
from biggan_jax.evaluation.metrics import Results
from biggan_jax.evaluation.results import Subject
from tests.evaluation.test_results import FID, OTHER


def stored(folder, step, scores, protocol=FID):
    record = results.record(Subject("runs/a", str(step), step), protocol, ("fid",), Results(scores, {}))
    results.append(epath.Path(folder) / results.SCORES, record)


def test_scores_of_two_steps_are_curves(tmp_path):
    stored(tmp_path, 200, {"frechet_distance": 5.0, "real_frechet_distance": 1.0})
    stored(tmp_path, 100, {"frechet_distance": 9.0, "kernel_distance": 0.1})
    stored(tmp_path, 200, {"kernel_distance": 0.05, "frechet_distance_low": 4.0})
    stored(tmp_path, 100, {"frechet_distance": 3.0}, OTHER)
    stored(tmp_path, None, {"frechet_distance": 3.0}, dataclasses.replace(OTHER, seed=1))
    ((words, (fid, kid)),) = curves.scored(results.read(epath.Path(tmp_path) / results.SCORES)).items()
    assert words == FID.words()
    assert fid == ("FID", ("frechet_distance", [100, 200], [9.0, 5.0]), 1.0)
    assert kid == ("KID", ("kernel_distance", [100, 200], [0.1, 0.05]), None)


def test_a_picture_is_drawn_if_there_are_curves(tmp_path):
    folder = epath.Path(tmp_path)
    stored(tmp_path, 100, {"frechet_distance": 9.0})
    assert not curves.draw(folder) and not (tmp_path / "scores.png").exists()
    stored(tmp_path, 200, {"frechet_distance": 5.0, "real_frechet_distance": 1.0})
    stored(tmp_path, 100, {"frechet_distance": 9.0}, OTHER)
    stored(tmp_path, 200, {"frechet_distance": 8.0}, OTHER)
    assert curves.draw(folder)
    assert min(Image.open(tmp_path / "scores.png").size) > 300
