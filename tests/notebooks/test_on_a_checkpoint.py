"""The notebooks that need a checkpoint, run on one of few steps."""

import pytest

from biggan_jax import config as configs
from biggan_jax.train import train

pytest.importorskip("nbclient", reason="notebooks are run with the extra notebook")

from nbclient.exceptions import CellExecutionError

from tests.notebooks.execution import opened, pictures, said

pytestmark = pytest.mark.notebook


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = configs.load("quickstart")
    config.update_from_flattened_dict({"num_steps": 30, "batch_size": 8, "model.ch": 4, "score.every": 0})
    config.stability.every = 0
    train(config, folder)
    return str(folder)


def test_sampling_shows_edits_and_exports(checkpoint, tmp_path):
    few = {"PASSES": 2, "LABELLED": 100, "PER_CLASS": 2}
    with opened("sampling", tmp_path, CHECKPOINT=checkpoint, **few) as notebook:
        notebook.run()
        cells = notebook.nb.cells
    assert sum(len(pictures(cell)) for cell in cells) == 6
    assert (tmp_path / "between.gif").read_bytes().startswith(b"GIF89a")
    assert any("their latents are bitwise identical: True" in said(cell) for cell in cells)
    assert len(list((tmp_path / "samples").glob("*/*.png"))) == 20


def test_without_a_checkpoint_one_is_trained(tmp_path):
    with opened("sampling", tmp_path, CHECKPOINT="runs/new", STEPS=1) as notebook:
        notebook.run(until="classes")
        assert "biggan, 16 pixels, 10 classes, step 1" in "".join(map(said, notebook.nb.cells))
        with pytest.raises(CellExecutionError, match="error: no checkpoint at") as mistake:
            notebook.evaluate("load_generator('nowhere')")
        assert "Traceback" not in str(mistake.value) and ".py" not in str(mistake.value)


def test_truncation_is_evaluated_by_five_protocols(checkpoint, tmp_path):
    few = {"SAMPLES": 100, "THRESHOLDS": (0.5, 1.0), "PASSES": 2}
    with opened("truncation_and_metrics", tmp_path, CHECKPOINT=checkpoint, **few) as notebook:
        notebook.run()
        cells = notebook.nb.cells
    assert sum(len(pictures(cell)) for cell in cells) == 4
    assert "best distance" in "".join(map(said, cells))
    assert said(cells[-2]).count("| step |") == 5
