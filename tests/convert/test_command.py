"""The conversion command."""

import json
import shutil
import types

import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax.convert import imported
from biggan_jax.convert.imported import Imported
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.convert import parity
from tests.convert.test_biggan_pytorch import SMALL_G, state_of


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "G_ema.npz"
    np.savez(path, z=np.zeros(3), **{f"state/{name}": array for name, array in state_of(SMALL_G).items()})
    return path


@pytest.fixture(scope="module")
def converted(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "run"
    result = run("convert", "--from=biggan-pytorch", f"--in={weights}", f"--out={folder}", "--sn_eps=1e-7")
    assert result.returncode == 0, result.stderr
    assert "biggan, 32 pixels, ch 8, 10 classes, from G: step 0" in result.stdout and "D was missing" in result.stdout
    return folder


def test_imported_weights_give_the_recorded_images(converted, tmp_path):
    arrays, _ = parity.load(SMALL_G)
    np.savez(tmp_path / "latents.npz", z=arrays["z"], y=arrays["y"])
    command = f"--checkpoint={converted}", f"--latents={tmp_path / 'latents.npz'}", f"--out={tmp_path / 'images.npz'}"
    result = run("sample", *command, "--statistics=running", "--float")
    assert result.returncode == 0, result.stderr
    images = np.load(tmp_path / "images.npz")["arr_0"]
    np.testing.assert_allclose(images, parity.to_nhwc(arrays["out_eval"]), atol=2e-5)


def test_the_config_has_what_shapes_and_flags_say(converted):
    config = json.loads((converted / "config.json").read_text())
    assert config["model"]["dim_z"] == 64 and not config["model"]["skip_z"]
    assert (config["model"]["spectral_eps"], config["model"]["bn_out_eps"]) == (1e-7, 1e-5)


@pytest.mark.slow
def test_training_starts_from_imported_networks(converted, tmp_path):
    run_ = lambda *more: run(
        "main", f"--config=finetune:{converted}", f"--workdir={tmp_path / 'tuned'}", "--config.data.name=mnist5k",
        "--config.batch_size=8", "--config.d_steps=1", "--config.num_steps=1", "--config.sample_every=0", *more,
    )  # fmt: skip
    refused(run_("--config.model.ch=16"), "use the networks of that run with --config=finetune:DIR")
    assert not (tmp_path / "tuned").exists()
    result = run_()
    assert result.returncode == 0, result.stderr
    assert f"starting from the weights of {converted}, step 0" in result.stderr


def test_the_classes_of_a_checkpoint_can_be_changed(converted, tmp_path):
    named = shutil.copytree(converted, tmp_path / "named")
    (named / "data.json").write_text(json.dumps({"class_names": [f"kind {i}" for i in range(10)]}))
    command = "--from=biggan-jax", f"--in={named}", "--classes=keep:3,7"
    result = run("convert", *command, f"--out={tmp_path / 'two'}")
    assert result.returncode == 0 and "2 classes, from a checkpoint" in result.stdout, result.stderr
    assert json.loads((tmp_path / "two" / "data.json").read_text()) == {"class_names": ["kind 3", "kind 7"]}
    tuned = run(
        "main", f"--config=finetune:{tmp_path / 'two'}", f"--workdir={tmp_path / 'w'}", "--config.data.name=mnist5k"
    )
    refused(tuned, "data.name mnist5k has 10 classes; with --config.model.num_classes=10 the layers of classes are new")
    unsaid = run("main", f"--config=finetune:{tmp_path / 'two'}", f"--workdir={tmp_path / 'w'}")
    refused(unsaid, "data.name '' is unknown; known are mnist5k")


def test_a_mistake_is_refused_in_one_sentence_and_writes_nothing(weights, tmp_path):
    for arguments, sentence in [
        (["--from=biggan_pytorch"], "--from 'biggan_pytorch' is unknown; did you mean biggan-pytorch?"),
        (["--from=hf-biggan-deep"], "is not a state dict of Hugging Face's BigGAN-deep: it lacks embeddings.weight"),
        (["--from=biggan-pytorch", "--classes=keep:10"], "classes 0 to 9, not 10"),
        (["--from=biggan-pytorch", "--bn_eps=0"], "--bn_eps=0.0 must be greater than 0"),
        (["--from=biggan-pytorch", "--in=nothing.pth"], "--in=nothing.pth does not exist"),
        (["--from=biggan-pytorch", "--to=biggan-pytorch"], "give one of the two"),
        ([], "--from or --to, --in and --out are needed"),
        (["--to=biggan-pytorch"], "no checkpoint at"),
        (["--from=biggan-pytorch", "--suffix=best0"], "--suffix has no effect here"),
        (["--to=biggan-pytorch", "--bn_eps=1e-4"], "--bn_eps has no effect here"),
        (["--from=biggan-pytorch", "--seed=5000000000"], "5000000000 is not an integer in the range [0, 2147483647]"),
    ]:
        refused(run("convert", f"--in={weights}", f"--out={tmp_path / 'out'}", *arguments), sentence)
        assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_refused_by_name(weights, tmp_path):
    arrays = dict(np.load(weights))
    arrays["state/linear.weight"][0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    result = run("convert", "--from=biggan-pytorch", f"--in={tmp_path / 'nan.npz'}", f"--out={tmp_path / 'run'}")
    refused(result, "G: linear.weight has values that are not finite; take other weights")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [AttributeError("'int' has no items"), KeyError("x"), RecursionError("too deep")])
def test_a_file_with_parts_of_other_types_is_refused_in_a_sentence(error, tmp_path):
    def read(source, suffix):
        raise error

    sentence = rf"g\.pth is not what that project writes, or is damaged \({type(error).__name__}: "
    with pytest.raises(UserError, match=sentence):
        imported.read(types.SimpleNamespace(read=read), tmp_path / "g.pth", suffix="")


def test_a_file_whose_settings_no_config_may_have_is_refused(tmp_path):
    config = configs.base()
    config.model.dim_z = -1
    project = types.SimpleNamespace(read=lambda source: Imported(config, {}))
    with pytest.raises(UserError, match="model.dim_z is -1; it must be greater than 0"):
        imported.read(project, tmp_path)


def test_an_output_that_is_a_file_is_refused(weights, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        refused(run("convert", "--from=biggan-pytorch", f"--in={weights}", f"--out={out}"), "cannot be written")


def test_a_folder_with_checkpoints_is_not_overwritten(weights, converted):
    refused(run("convert", "--from=biggan-pytorch", f"--in={weights}", f"--out={converted}"), "is not empty")
