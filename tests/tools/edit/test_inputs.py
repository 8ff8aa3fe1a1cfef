import types

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


def save(folder, name, **arrays):
    np.savez(folder / name, **arrays)
    return str(folder / name)


def test_directions_add_up_with_weights(gan, tmp_path):
    a, b = np.eye(12, dtype=np.float32)[:2]
    first, second = save(tmp_path, "a.npz", direction=3 * a), save(tmp_path, "b-c.npz", direction=np.stack([a, 2 * b]))
    found = directions.read_sum(f"{first} - 0.5*{second}:2", gan)
    np.testing.assert_allclose(found.vector, a - 0.5 * b)  # Each term has norm one, the sum has not.
    assert found.layers is None and found.unit == 1
    for text in (first, f"{first} + {second}"):
        assert directions.read_sum(text, gan, 1).vector[0] == len(text.split("+"))
    z = np.zeros((1, 12), np.float32)
    moved, _ = directions.moved(z, found.vector, 2, 3)
    np.testing.assert_allclose(moved[0, :, :2], [[-2, 1], [0, 0], [2, -1]])


def test_a_sum_that_leads_nowhere_is_refused(gan, tmp_path):
    a = save(tmp_path, "a.npz", direction=np.eye(12, dtype=np.float32)[0])
    with pytest.raises(UserError, match="the sum is 0, so it leads nowhere"):
        directions.read_sum(f"{a} - {a}", gan)
    with pytest.raises(UserError, match="is not a sum"):
        directions.read_sum(f"{a} + ", gan)
    with pytest.raises(UserError, match="--component=3: .*a.npz has 1 directions"):
        directions.read_sum(f"{a} + {a}:3", gan)


def test_directions_in_w_add_up_layer_by_layer(tmp_path, monkeypatch):
    style = types.SimpleNamespace(styles=3, dim_w=2, dim_z=12)
    monkeypatch.setattr(directions, "check", lambda gan, what: gan)
    a = save(tmp_path, "a.npz", direction=np.array([1.0, 0]), unit=2.0, layers=np.array([True, False, True]))
    b = save(tmp_path, "b.npz", direction=np.array([0, 1.0]), unit=0.5, layers=np.array([True, True, False]))
    found = directions.read_sum(f"{a} + 3*{b}", style)
    moved, steps = directions.moved_w(np.zeros((1, 3, 2), np.float32), found, 1, 2)
    assert steps.tolist() == [-1, 1]
    np.testing.assert_allclose(moved[0, 1], [[2, 1.5], [0, 1.5], [2, 0]])
    in_z = save(tmp_path, "z.npz", direction=np.ones(12))
    with pytest.raises(UserError, match="directions in z and in w have no sum"):
        directions.read_sum(f"{a} + {in_z}", style)
