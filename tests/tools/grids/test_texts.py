"""Sheets of a model that draws images of texts."""

import pytest

from biggan_jax.config.loading import load
from tests import cli
from tests.conftest import untrained_run
from tests.models.test_text_to_image import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run of a small model of captions of digits."""
    c = load("classic/text_to_image32")
    c.update_from_flattened_dict(SMALL | {"model.image_shape": (16, 16, 3), "model.text_length": 24})
    return untrained_run(tmp_path_factory.mktemp("texts") / "run", c)


def sheet(run, out, name, *arguments):
    return cli.run("tools.grids", f"--checkpoint={run}", f"--sheet={name}", f"--out={out}", *arguments)


def test_neighbours_are_of_samples_of_training_captions(run, tmp_path):
    result = sheet(run, tmp_path / "a.png", "neighbours", "--network=none", "--rows=2", "--columns=2")
    assert result.returncode == 0, result.stderr
    assert "2 rows of 3 images" in result.stdout and (tmp_path / "a.png").exists()


def test_what_sheets_of_texts_cannot_show_is_refused(run, tmp_path):
    out = tmp_path / "a.png"
    sentence = "--classes has no meaning: samples of this model have the conditions of training images"
    cli.refused(sheet(run, out, "neighbours", "--network=none", "--classes=1"), sentence)
    sentence = "this model draws images of texts, and this tool draws classes; use biggan-sample --text=TEXT"
    cli.refused(sheet(run, out, "classes"), sentence)
