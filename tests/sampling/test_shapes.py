"""Samples of 16 bits, of any number of channels, of vectors and of conditions of real numbers."""

import dataclasses
import io
import json
import types

import cv2
import numpy as np
import pytest
from PIL import Image

from biggan_jax.config import base
from biggan_jax.data import exact
from biggan_jax.sampling import latent_files, pictures, training_data
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train_step import to_float
from biggan_jax.types import Condition, UserError
from tests.cli import refused, run
from tests.conftest import untrained_run

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_holds_all_channels_and_bits(channels, dtype):
    images = RNG.integers(0, np.iinfo(dtype).max, (3, 7, 9, channels), dtype, endpoint=True)
    encoded = pictures.tiff(images)
    found = exact.read(encoded).image  # Pages of one channel are read as channels.
    np.testing.assert_array_equal(found, np.moveaxis(images[..., 0], 0, -1) if channels == 1 else images[0])
    if channels in (1, 3):
        done, decoded = cv2.imdecodemulti(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        assert done
        np.testing.assert_array_equal(np.stack(decoded).reshape(images.shape)[..., ::-1], images)
        opened = Image.open(io.BytesIO(encoded))
        assert opened.n_frames == 3 and opened.size == (9, 7)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_of_16_bits_keeps_them(channels):
    images = RNG.integers(0, 65536, (4, 5, 6, channels), np.uint16)
    encoded = pictures.png(pictures.grid(images, columns=2))
    found = exact.read(encoded).image
    np.testing.assert_array_equal(found[2:7, 2:8], images[0])
    assert found[0, 0, 0] == 65535, "the margin is white"


def test_to_uint16_is_the_inverse_of_to_float():
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(pictures.to_uint16(np.asarray(to_float(levels))), levels)


class Deep(Sampler):
    """A sampler of given images."""

    def batches(self, z, y, batch_size=64):
        yield np.linspace(-1, 1, 6 * 4 * 4 * 2, dtype=np.float32).reshape(6, 4, 4, 2), 5


def test_samples_of_16_bits_are_stored_as_such(tmp_path):
    deep = Deep(types.SimpleNamespace(image_shape=(4, 4, 2), frames=0), {}, {}, None, "")
    latent_files.write_samples(tmp_path / "a.npz", deep, np.zeros((5, 2), np.float32), np.zeros(5, np.int32), bits=16)
    stored = np.load(tmp_path / "a.npz")["arr_0"]
    assert stored.dtype == np.uint16 and stored.min() == 0 and stored.max() > 2**15 and len(stored) == 5


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory):
    """An untrained model of 5 channels of 16 bits, with a condition of two numbers."""
    config = base("cgan")
    config.model.update(image_shape=(6, 8, 5), condition_dim=2, hidden=12, units=4, dim_z=3)
    config.data.name = "fake"
    folder = untrained_run(tmp_path_factory.mktemp("run"), config)
    (folder / "data.json").write_text(json.dumps({"dtype": "uint16"}))
    return folder


def test_samples_have_the_bits_and_conditions_of_the_data(conditioned, tmp_path):
    result = run("sample", f"--checkpoint={conditioned}", "--num=6", f"--out={tmp_path / 'a.npz'}")
    assert result.returncode == 0 and "conditions are drawn from the training data" in result.stderr, result.stderr
    stored = np.load(tmp_path / "a.npz")
    assert stored["arr_0"].dtype == np.uint16 and stored["arr_0"].shape == (6, 6, 8, 5) and stored["y"].shape == (6, 2)
    (tmp_path / "c.csv").write_text("0.5,-1\n2,3\n")
    given = f"--conditions={tmp_path / 'c.csv'}"
    result = run("sample", f"--checkpoint={conditioned}", given, "--num=4", f"--out={tmp_path / 'b.tif'}")
    assert result.returncode == 0, result.stderr
    assert exact.read((tmp_path / "b.tif").read_bytes()).image.shape == (6, 8, 5)
    again = f"--latents={tmp_path / 'a.npz'}"
    result = run("sample", f"--checkpoint={conditioned}", again, f"--out={tmp_path / 'c.npz'}")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "c.npz")["arr_0"], stored["arr_0"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sample", "--out=a.png"], "are not grey or RGB images [H, W, 1 or 3]; write them as .npz or .tif"),
        (
            ["sample", "--out=a.npz", "--classes=1"],
            "--classes has no meaning: this model is conditioned on real numbers",
        ),
        (["sheets", "--sheet=classes", "--out=a.png"], "are not grey or RGB images"),
    ],
)
def test_what_a_model_cannot_draw_is_refused(conditioned, arguments, sentence):
    command, *more = arguments
    refused(run(command, f"--checkpoint={conditioned}", *more), sentence)


def test_conditions_are_read_from_arrays_and_tables(tmp_path):
    np.savez(tmp_path / "a.npz", condition=np.ones((3, 2)), other=np.zeros(1))
    assert training_data.read_conditions(str(tmp_path / "a.npz"), 2).dtype == np.float32
    with pytest.raises(UserError, match=r"has the shape \[3, 2\]; this model takes \[N, 4\] numbers"):
        training_data.read_conditions(str(tmp_path / "a.npz"), 4)
    (tmp_path / "a.csv").write_text("age,dose\n1,2\n")
    with pytest.raises(UserError, match="is no .npz, and no .csv of numbers"):
        training_data.read_conditions(str(tmp_path / "a.csv"), 2)


def test_latents_need_conditions_of_the_models_length(tmp_path, sampler):
    gan = dataclasses.replace(sampler.gan, condition=Condition("vector", 3))
    for y, fits in ((np.zeros((2, 3), np.float32), True), (np.zeros(2, int), False), (np.zeros((2, 4)), False)):
        np.savez(tmp_path / "a.npz", z=np.zeros((2, 12)), y=y)
        if fits:
            np.testing.assert_array_equal(latent_files.read_latents(tmp_path / "a.npz", gan)[1], y)
            continue
        with pytest.raises(UserError, match=r"this model takes conditions \[N, 3\]"):
            latent_files.read_latents(tmp_path / "a.npz", gan)


def test_seeds_are_drawn_in_each_condition(conditioned, tmp_path):
    (tmp_path / "c.csv").write_text("0.5,-1\n2,3\n")
    command = f"--checkpoint={conditioned}", "--seeds=4-5", f"--out={tmp_path / 'a.npz'}"
    refused(run("sample", *command), "--seeds needs --conditions=FILE: this model is conditioned on real numbers")
    result = run("sample", *command, f"--conditions={tmp_path / 'c.csv'}")
    assert result.returncode == 0, result.stderr
    stored = np.load(tmp_path / "a.npz")
    assert stored["seeds"].tolist() == [4, 5, 4, 5] and stored["y"][:, 0].tolist() == [0.5, 0.5, 2, 2]
    np.testing.assert_array_equal(stored["z"][:2], stored["z"][2:])
