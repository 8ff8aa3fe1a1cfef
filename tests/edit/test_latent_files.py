import numpy as np
import pytest

from biggan_jax.edit import latent_files
from biggan_jax.types import UserError


@pytest.fixture
def gan(sampler):
    return sampler.gan


def test_samples_are_read_back_with_their_truncation(tmp_path, sampler, gan):
    import dataclasses

    from biggan_jax.latents import Truncation

    truncated = dataclasses.replace(sampler, truncation=Truncation(0.5, "scale"))
    z, y = sampler.latents(2), np.array([0, 7], np.int32)
    latent_files.write_samples(tmp_path / "a.npz", truncated, z, y)
    read_z, read_y, truncation = latent_files.read_latents(str(tmp_path / "a.npz"), gan)
    np.testing.assert_array_equal(read_z, z)
    np.testing.assert_array_equal(read_y, y)
    assert truncation == (0.5, "scale")


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"z": np.zeros((2, 12))}, "is not an .npz with arrays z and y"),
        ({"z": np.zeros((2, 5)), "y": np.zeros(2, int)}, r"this model takes z \[N, 12\]"),
        ({"z": np.full((1, 12), np.nan), "y": np.zeros(1, int)}, "not finite"),
        ({"z": np.zeros((1, 12)), "y": np.array([10])}, "y must be classes 0 to 9"),
        ({"z": np.zeros((1, 12)), "y": np.zeros((1, 4))}, "y must be classes 0 to 9"),
        ({"z": np.array([{}]), "y": np.zeros(1, int)}, "is not an .npz"),
    ],
)
def test_latents_of_another_model_are_refused(tmp_path, gan, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        latent_files.read_latents(str(tmp_path / "a.npz"), gan)


def test_a_row_is_named_by_its_file_and_number():
    assert latent_files.row_of("runs/a.npz:3") == ("runs/a.npz", 3)
    assert latent_files.row_of("gs://b/a.npz") == ("gs://b/a.npz", 0)


@pytest.mark.parametrize("text", ["0\n1\n0.5\n", "name,score\na,0\nb,1\nc,0.5\n", "label\n\n0\n1\n0.5"])
def test_labels_are_the_last_column_of_a_text(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    assert latent_files.read_scores(str(tmp_path / "labels.csv"), 3).tolist() == [0, 1, 0.5]


def test_labels_are_an_array_of_an_npz(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([True, False]))
    assert latent_files.read_scores(str(tmp_path / "a.npz"), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("0\n1\n", "for each of 3 samples"), ("0\n1\nyes\n", "a number a line"), ("0\n1\nnan\n", "finite"), ("", "of 3")],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, text, sentence):
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UserError, match=sentence):
        latent_files.read_scores(str(tmp_path / "labels.txt"), 3)


def test_a_direction_is_read_as_long_as_one(tmp_path, gan):
    latent_files.write_arrays(tmp_path / "d.npz", direction=np.full(12, 5.0), attribute="slant")
    vector, attribute = latent_files.read_direction(str(tmp_path / "d.npz"), gan)
    assert np.linalg.norm(vector) == pytest.approx(1) and attribute == "slant"


@pytest.mark.parametrize("direction", [np.zeros(12), np.ones(5), np.full(12, np.inf)])
def test_a_direction_of_another_model_is_refused(tmp_path, gan, direction):
    np.savez(tmp_path / "d.npz", direction=direction)
    with pytest.raises(UserError, match=r"must be \[12\] for this model"):
        latent_files.read_direction(str(tmp_path / "d.npz"), gan)
