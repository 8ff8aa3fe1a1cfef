"""The command that exports a model, and its card."""

import json

import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax.checkpoint import load_generator
from biggan_jax.evaluation import results
from biggan_jax.evaluation.cache import hash_of_tree
from biggan_jax.tools.export.card import card, preset
from tests.cli import refused, run
from tests.conftest import tiny_config
from tests.evaluation.test_results import FID


@pytest.fixture(scope="module")
def model(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model"
    result = run("tools.export", "model", f"--checkpoint={workdir}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert f"step 0 in {out}; complete its README.md before you publish it" in result.stdout
    return out


def test_commands_draw_the_images_of_the_checkpoint(model, workdir, tmp_path):
    arrays = {}
    for path in (model, workdir):
        out = tmp_path / f"{path.name}.npz"
        done = run("sample", f"--checkpoint={path}", "--passes=1", "--num=3", "--float", f"--out={out}")
        assert done.returncode == 0, done.stderr
        arrays[path] = np.load(out)["arr_0"].tobytes()
    assert arrays[model] == arrays[workdir]


def test_a_model_can_be_exported_again_bit_for_bit(model, tmp_path):
    done = run("tools.export", "--what=model", f"--checkpoint={model}", f"--out={tmp_path / 'model'}")
    assert done.returncode == 0, done.stderr
    for file in model.iterdir():
        assert file.read_bytes() == (tmp_path / "model" / file.name).read_bytes(), file.name


def test_the_config_is_that_of_the_run(model, workdir):
    stored = json.loads((model / "config.json").read_text())
    assert stored == json.loads(configs.to_json(load_generator(workdir).config))


def test_mistakes_are_one_sentence(model, workdir, tmp_path):
    refused(run("tools.export", "modle", f"--checkpoint={workdir}", f"--out={tmp_path / 'x'}"), "did you mean model?")
    refused(run("tools.export", "model", f"--checkpoint={workdir}", f"--out={model}"), "is not an empty folder")
    wrong = run("tools.export", "model", f"--checkpoint={workdir}", f"--out={tmp_path / 'x'}", "--per_class=3")
    refused(wrong, "--per_class has no effect on a model")
    refused(run("tools.export", f"--checkpoint={workdir}", "--platforms=cpu"), "--platforms has no effect on samples")
    assert not (tmp_path / "x").exists()


def test_training_from_a_model_is_refused(model, tmp_path):
    config = f"--config=finetune:{model}"
    refused(run("main", config, f"--workdir={tmp_path / 'run'}", "--config.data.name=mnist5k"), "is an exported model")


def test_the_card_says_what_was_not_measured(model):
    text = (model / "README.md").read_text()
    for part in (
        "| family | `biggan` |",
        "10 classes",
        "16 x 16 pixels, 3 channels",
        "license:\n",
        "Not measured.",
        "fill in",
    ):
        assert part in text, part


def test_the_card_has_the_scores_of_these_weights_only(workdir, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(type(trained), "workdir", tmp_path)
    content = hash_of_tree({"params": trained.params, "stats": trained.stats})
    for subject, value in ((results.Subject("a", content, 0), 8.25), (results.Subject("b", "other", 0), 99.5)):
        scores = results.Results({"frechet_distance": value}, {})
        results.append(tmp_path / results.SCORES, results.record(subject, FID, ("fid",), scores))
    text = card(trained, "x")
    assert "8.25" in text and FID.reference in text and "99.5" not in text and "Not measured" not in text


def test_the_card_names_the_nearest_preset():
    quickstart = configs.load("quickstart")
    assert preset(quickstart) == "`quickstart`"
    quickstart.seed, quickstart.optimizer.g_lr = 5, 1e-4
    assert preset(quickstart) == "`quickstart`, but `optimizer.g_lr=0.0001`"
    own = tiny_config()
    own.batch_size, own.num_steps, own.d_steps, own.ema.decay = 24, 7, 3, 0.5
    own.optimizer.update(g_lr=0.1, d_lr=0.1, b1=0.5, b2=0.5)
    own.model.update(ch=6, dim_z=18)
    assert preset(own) == "none: a config of its own"
