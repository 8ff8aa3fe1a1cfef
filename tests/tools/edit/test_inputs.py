import numpy as np
import pytest
from PIL import Image

from biggan_jax.sampling.latent_files import write_arrays
from biggan_jax.tools import classes
from biggan_jax.tools.edit import directions, inversion
from biggan_jax.types import UserError


@pytest.fixture
def gan(sampler):
    return sampler.gan


def test_a_row_is_named_by_its_file_and_number():
    assert classes.row_of("runs/a.npz:3") == ("runs/a.npz", 3)
    assert classes.row_of("gs://b/a.npz") == ("gs://b/a.npz", 0)


@pytest.mark.parametrize("text", ["0\n1\n0.5\n", "name,score\na,0\nb,1\nc,0.5\n", "label\n\n0\n1\n0.5"])
def test_labels_are_the_last_column_of_a_text(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    assert directions.read_scores(str(tmp_path / "labels.csv"), 3).tolist() == [0, 1, 0.5]


def test_labels_are_an_array_of_an_npz(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([True, False]))
    assert directions.read_scores(str(tmp_path / "a.npz"), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("0\n1\n", "for each of 3 samples"), ("0\n1\nyes\n", "a number a line"), ("0\n1\nnan\n", "finite"), ("", "of 3")],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, text, sentence):
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UserError, match=sentence):
        directions.read_scores(str(tmp_path / "labels.txt"), 3)


def test_a_direction_is_read_as_long_as_one(tmp_path, gan):
    write_arrays(tmp_path / "d.npz", direction=np.full(12, 5.0), attribute="slant")
    found = directions.read_direction(str(tmp_path / "d.npz"), gan)
    assert np.linalg.norm(found.vector) == pytest.approx(1) and found.attribute == "slant" and found.layers is None


@pytest.mark.parametrize("direction", [np.zeros(12), np.ones(5), np.full(12, np.inf)])
def test_a_direction_of_another_model_is_refused(tmp_path, gan, direction):
    np.savez(tmp_path / "d.npz", direction=direction)
    with pytest.raises(UserError, match=r"must be \[12\] for this model"):
        directions.read_direction(str(tmp_path / "d.npz"), gan)


def test_a_picture_is_cropped_and_resized_to_any_image_shape(tmp_path):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, 10:30] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for shape in ((15, 10, 3), (15, 10, 1)):
        read = inversion.read_picture(str(tmp_path / "a.png"), shape)
        assert read.shape == shape and (read == 200).all(), "the central 30 x 20 pixels"
