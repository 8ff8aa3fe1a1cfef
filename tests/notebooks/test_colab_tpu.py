"""The notebook for Colab, run on CPU with few steps. It does not import the package; see execution."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("nbclient", reason="notebooks are run with the extra notebook")

from nbclient.exceptions import CellExecutionError

from tests.notebooks import execution
from tests.notebooks.execution import opened, pictures, said

pytestmark = pytest.mark.notebook

TINY = {"batch_size": 8, "d_steps": 1, "model.ch": 4, "model.dim_z": 12, "model.shared_dim": 8}
RELEASED = execution.ROOT / "tests" / "data" / "parity" / "biggan32_nohier_G.npz"


def steps_of(workdir):
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    return tmp_path_factory.mktemp("drive")


@pytest.fixture(scope="module")
def running(drive, tmp_path_factory):
    """The notebook after all its cells have run."""
    folder = tmp_path_factory.mktemp("machine")
    shutil.copy(RELEASED, folder / "G_ema.npz")
    parameters = {"WEIGHTS": "G_ema.npz", "WEIGHTS_FROM": "biggan-pytorch", "DRIVE": str(drive)}
    with opened("colab_tpu", folder, STEPS=24, MORE_STEPS=8, CHANGES=TINY, **parameters) as notebook:
        notebook.run()
        yield notebook


@pytest.fixture
def workdir(drive):
    return drive / "MyDrive" / "biggan_jax" / "digits"


def test_all_cells_run_and_both_trainings_end(running, workdir):
    assert [said(cell).count("finished") for cell in running.nb.cells].count(1) == 2
    assert steps_of(workdir)[:32] == list(range(1, 33))


def test_the_slider_draws_anew(running):
    drawn = "import hashlib; print(hashlib.sha256(view.value).hexdigest())"
    before = running.evaluate(drawn)
    running.move("slider", 0.1)
    assert running.evaluate("print(slider.value)").strip() == "0.1"
    assert running.evaluate(drawn) != before


def test_released_weights_become_pictures(running):
    assert len(pictures(running.cell("released")[0])) == 1


def test_tensorflow_is_not_imported(running):
    assert running.evaluate("import sys; print('tensorflow' in sys.modules)").strip() == "False"


def test_another_machine_resumes_from_drive(running, drive, workdir, tmp_path):
    before = steps_of(workdir)
    with opened("colab_tpu", tmp_path, STEPS=36, MORE_STEPS=4, CHANGES=TINY, DRIVE=str(drive)) as other:
        other.run()
        assert "WEIGHTS names no file" in "".join(map(said, other.nb.cells))
    assert steps_of(workdir)[: len(before)] == before and steps_of(workdir)[-1] == 40


def test_the_stop_button_saves_and_the_cell_resumes(tmp_path):
    with opened("colab_tpu", tmp_path, STEPS=100_000, CHANGES={**TINY, "log_every": 1}) as notebook:
        notebook.run(until="train")
        kernel = int(notebook.evaluate("import os; print(os.getpid())"))
        metrics = tmp_path / "runs" / "digits" / "metrics.jsonl"

        def press():
            while notebook.updates < 2:
                time.sleep(0.1)
            os.kill(kernel, signal.SIGINT)  # The stop button does the same.

        threading.Thread(target=press, daemon=True).start()
        train, place = notebook.cell("train")
        notebook.execute_cell(train, place)
        assert "stopped and saved: run this cell again" in said(train) and len(pictures(train)) == 1
        done = steps_of(metrics.parent)[-1]
        assert 0 < done < 100_000
        notebook.evaluate(f"config.num_steps = {done + 2}")
        notebook.execute_cell(train, place)
        assert "finished" in said(train) and steps_of(metrics.parent) == list(range(1, done + 3))


def test_cifar10_is_checked_and_a_prepared_set_is_trained_on(tmp_path):
    machine, archive = tmp_path / "machine", tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(b"not that of the authors")
    rng = np.random.default_rng(0)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for number in range(60):
        file = tmp_path / "pictures" / names[number % 10] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
    parameters = {"DATA": "cifar10", "STEPS": 2, "MORE_STEPS": 1, "CHANGES": TINY, "CIFAR10": archive.as_uri()}
    with opened("colab_tpu", machine, **parameters) as notebook:
        with pytest.raises(CellExecutionError, match="data.prepare failed with status 2"):
            notebook.run()
        flags = "--from=folder", f"--in={tmp_path / 'pictures'}", "--out=data/cifar10", "--size=32", "--held_out=2"
        notebook.evaluate(f"notebook.command('data.prepare', *{flags})")
        notebook.run()
        shown = notebook.evaluate("print(labels_of(trained))")
        assert "'airplane'" in shown and "'truck'" in shown
    run = machine / "runs" / "cifar10"
    assert json.loads((run / "data.json").read_text())["images"] == 40
    assert steps_of(run)[-1] == 3
