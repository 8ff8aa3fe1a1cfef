"""Sheets of a model that draws images of texts."""

import pytest
from absl import flags
from absl.testing import flagsaver

from biggan_jax.config.loading import load
from biggan_jax.data import builtin, captions
from biggan_jax.tools.grids import __main__ as grids
from biggan_jax.tools.grids import neighbours
from biggan_jax.types import UserError
from tests.conftest import untrained_run
from tests.models.test_text_to_image import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run of a small model of captions of digits."""
    c = load("classic/text_to_image32")
    c.update_from_flattened_dict(SMALL | {"model.image_shape": (16, 16, 3), "model.text_length": 24})
    return untrained_run(tmp_path_factory.mktemp("texts") / "run", c)


def sheet(run, out, name, *arguments):
    with flagsaver.flagsaver():
        flags.FLAGS(["biggan-sheets", f"--checkpoint={run}", f"--sheet={name}", f"--out={out}", *arguments])
        grids.main()


def test_neighbours_are_of_samples_of_training_captions(run, tmp_path, monkeypatch):
    seen, original = [], neighbours.neighbours
    monkeypatch.setattr(
        neighbours, "neighbours", lambda *args, **options: seen.append(args) or original(*args, **options)
    )
    sheet(run, tmp_path / "a.png", "neighbours", "--network=none", "--rows=2", "--columns=2")
    samples, labels, source, *_ = seen[0]
    texts = {captions.decode(row) for row in builtin.digit_captions(16, "train", 3, 24).labels[:, 0]}
    assert samples.shape == (2, 16, 16, 3) and len(source) > 1000 and set(labels) <= texts
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "neighbours",
            ["--classes=1"],
            "--classes has no meaning: samples of this model have the conditions of training",
        ),
        ("classes", [], "this model draws images of texts, and this tool draws classes; use biggan-sample --text=TEXT"),
    ],
)
def test_what_sheets_of_texts_cannot_show_is_refused(run, tmp_path, name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        sheet(run, tmp_path / "a.png", name, *arguments)
