"""Samples of texts: by `biggan-sample --text`, from Python, and of an exported model."""

import dataclasses
import functools

import jax
import jax.export
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from biggan_jax import sample
from biggan_jax.checkpoint import exported, load_generator, load_state
from biggan_jax.config.loading import load
from biggan_jax.data import captions
from biggan_jax.flags import sample as sample_flags
from biggan_jax.models import build_gan
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import latent_files
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.dream.layers import discriminator
from biggan_jax.tools.export import program
from biggan_jax.types import UNCONDITIONAL, UserError
from tests.conftest import untrained_run
from tests.models.test_text_to_image import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run of a small model with a text encoder."""
    c = load("classic/text_to_image32")
    c.update_from_flattened_dict(SMALL | {"model.text_length": 12})
    return untrained_run(tmp_path_factory.mktemp("run"), c)


@functools.cache
def loaded(run):
    return load_generator(run)


@pytest.fixture(scope="module")
def sampler(run):
    return Sampler.from_checkpoint(loaded(run))


def command(run, out, *arguments):
    with flagsaver.flagsaver():
        flags.FLAGS(["biggan-sample", f"--checkpoint={run}", f"--out={out}", *arguments])
        sample_flags.check()
        sample.main()


def test_texts_are_drawn_by_flags_and_from_python(run, sampler, tmp_path, capsys):
    command(run, tmp_path / "a.npz", "--text=a red flag", "--text=ein  Häher", "--num=4")
    assert "4 images of 'a red flag', 'ein Häher' of step 0" in capsys.readouterr().out
    found = np.load(tmp_path / "a.npz")
    texts = ["a red flag"] * 2 + ["ein Häher"] * 2
    assert [captions.decode(row) for row in found["y"]] == texts and found["arr_0"].shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(sampler.images(found["z"], texts), found["arr_0"])
    np.testing.assert_array_equal(latent_files.read_latents(tmp_path / "a.npz", sampler.gan)[1], found["y"])
    (tmp_path / "texts.txt").write_text("a red flag\n\nein Häher\n", encoding="utf-8")
    command(run, tmp_path / "b.npz", f"--texts={tmp_path / 'texts.txt'}", "--num=4")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["arr_0"], found["arr_0"])


@pytest.mark.families
def test_g_draws_the_embedding_of_the_run_s_own_encoder(run, sampler):
    z, y = sampler.latents(2), captions.encode(["a red flag", "a fish"], 12)
    state, c, _ = load_state(run)
    embedding = build_gan(c).conditions({"T": state.networks["T"].params}, y)
    np.testing.assert_allclose(sampler.floats(z, y), sampler.floats(z, np.asarray(embedding)), atol=1e-5)
    assert np.abs(sampler.floats(z, y)[0] - sampler.floats(z, y[::-1])[0]).max() > 0


def test_an_exported_model_reads_texts(run, sampler, tmp_path):
    trained = loaded(run)
    for name, content in exported.contents(trained, {}, "0").items():
        (tmp_path / name).write_bytes(content)
    again = load_generator(tmp_path)
    assert jax.tree.structure(again.stats) == jax.tree.structure(trained.stats) and "text" in again.stats
    for a, b in zip(jax.tree.leaves(again.stats), jax.tree.leaves(trained.stats), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.families
def test_a_program_reads_the_bytes_of_texts(sampler):
    own = jax.export.deserialize(bytearray(program.serialize([sampler], ["cpu"])))
    z, y = sampler.latents(2), captions.encode(["a red flag", "a fish"], 12)
    np.testing.assert_array_equal(own.call(z, y, np.float32(np.inf)), sampler.floats(z, y, batch_size=2))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--text=a text of too many bytes"],
            "--text: 'a text of too many bytes' has 24 bytes, and this model reads 12; shorten",
        ),
        (["--text= "], "--text has no text; give some words"),
        (["--texts=nowhere.txt"], "--texts=nowhere.txt cannot be read as UTF-8 text"),
        (["--text=a", "--texts=b"], "three ways to say what is drawn; give one of them"),
        (["--classes=1"], "--classes has no meaning: this model is conditioned on texts; give --text=TEXT"),
        (["--seeds=1"], "--seeds needs --text=TEXT: this model is conditioned on texts"),
        (["--conditions=setup.cfg"], "--conditions has no meaning: this model is not conditioned on real numbers"),
        (
            ["--statistics=standing", "--text=a"],
            "a condition of texts, which have no distribution to draw from; use running",
        ),
    ],
)
def test_texts_that_do_not_fit_are_refused(run, tmp_path, monkeypatch, arguments, why):
    monkeypatch.setattr(sampling_flags, "load_generator", lambda *_, **__: loaded(run))
    with pytest.raises(UserError, match=why.replace("(", r"\(")):
        command(run, tmp_path / "a.npz", *arguments)


def test_other_models_and_tools_refuse_texts(run, sampler, tmp_path, monkeypatch):
    without = dataclasses.replace(sampler.gan, condition=UNCONDITIONAL)
    with pytest.raises(UserError, match="y is text, such as 'a', and this model reads none"):
        dataclasses.replace(sampler, gan=without).images(np.zeros((1, 3)), ["a"])
    monkeypatch.setattr(
        sampling_flags, "load_generator", lambda *_, **__: dataclasses.replace(loaded(run), gan=without)
    )
    with pytest.raises(UserError, match="--text has no meaning: this model reads no texts"):
        command(run, tmp_path / "a.npz", "--text=a")
    with pytest.raises(
        UserError, match="this model draws images of texts, and this tool draws classes; use biggan-sample --text"
    ):
        sampling_flags.check_shown(loaded(run))


def test_a_discriminator_of_texts_does_not_dream(run):
    with pytest.raises(UserError, match="reads a text beside the picture, and Deep Dream has none to give it"):
        discriminator(run)
