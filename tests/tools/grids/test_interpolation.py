import jax
import numpy as np
import pytest

from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.grids.draws import between_latents, interpolation, pairs
from biggan_jax.types import UserError
from tests.tools.grids import fakes
from tests.tools.grids.fakes import NAMES

CLASSES = np.array([2, 5, 7], np.int32)
T = np.linspace(0, 1, 5, dtype=np.float32)


def asked(between, spherical=False, rows=4, classes=CLASSES):
    """z [rows, 5, dim_z], y [rows, 5, ...] and the grid."""
    sampler = fakes.Sampler()
    grid = interpolation(sampler, classes, rows, 5, between=between, spherical=spherical, seed=0, names=NAMES)
    ((z, y),) = sampler.asked
    return z.reshape(rows, 5, -1), y.reshape(rows, 5, *y.shape[1:]), grid


def test_in_z_each_row_goes_between_two_draws_of_one_class():
    z, y, grid = asked("z")
    drawn = fakes.Sampler().latents(8, 0)
    np.testing.assert_array_equal(z[:, 0], drawn[:4])
    np.testing.assert_array_equal(z[:, -1], drawn[4:])
    np.testing.assert_allclose(z[:, 2], (drawn[:4] + drawn[4:]) / 2, atol=1e-6)
    assert (y == np.array([2, 5, 7, 2])[:, None]).all()
    assert grid.rows == ["class 2", "class 5", "class 7", "class 2"]


def test_in_class_z_is_fixed_and_the_classes_are_mixed():
    z, y, grid = asked("class")
    assert (z == z[:, :1]).all()
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    np.testing.assert_array_equal(y[:, 0].argmax(-1), [2, 5, 2, 5])
    np.testing.assert_array_equal(y[:, -1].argmax(-1), [5, 7, 5, 7])
    np.testing.assert_allclose(y[0, 1, [2, 5]], [0.75, 0.25])
    assert grid.rows[0] == "class 2\nto class 5"
    assert grid.columns == ["0%", "25%", "50%", "75%", "100%"]


def test_in_both_z_and_class_move_together():
    z, y, _ = asked("both")
    assert (z[:, 0] != z[:, -1]).all()
    assert (y[:, 0] != y[:, -1]).any()


def test_along_the_sphere_length_changes_evenly_and_ends_are_the_same():
    a, b = fakes.Sampler().latents(2, 0)[:, None]
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    straight, turned = (between_latents(a, b, T, spherical=spherical) for spherical in (False, True))
    np.testing.assert_allclose(turned[:, [0, -1]], straight[:, [0, -1]], atol=1e-5)
    lengths = np.linalg.norm(turned, axis=-1) / np.linalg.norm(a)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    assert np.linalg.norm(straight[:, 2]) < 0.9 * np.linalg.norm(a)


def test_collinear_latents_are_interpolated_linearly():
    a = np.ones((1, 4), np.float32)
    for b in (a, 2 * a, -a):
        np.testing.assert_allclose(between_latents(a, b, T, spherical=True), between_latents(a, b, T), atol=1e-6)


def test_pairs_of_classes_follow_one_another_and_begin_again():
    first, last = pairs(CLASSES, 5)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(2, 5), (5, 7), (2, 5), (5, 7), (2, 5)]


def test_interpolation_between_classes_needs_two():
    with pytest.raises(UserError, match="give --classes=3,7 or --between=z"):
        pairs(CLASSES[:1], 2)


def test_the_ends_between_classes_are_the_pictures_of_those_classes(model):
    """Of a true model: a mixture that is all one class is that class, to a level of rounding."""
    gan, state = model
    G = state.networks["G"]
    sampler = Sampler(gan, G.params, {"batch_stats": G.variables["batch_stats"]}, None, "running")
    grid = interpolation(sampler, CLASSES, 2, 3, between="both", spherical=False, seed=0, names=NAMES)
    z = sampler.latents(4, 0)
    ends = sampler.images(z, np.array([2, 5, 5, 7], np.int32))
    shown = np.concatenate([grid.images[:, 0], grid.images[:, -1]])
    assert np.abs(shown.astype(int) - ends).max() <= 1
    assert np.abs(grid.images[:, 1].astype(int) - grid.images[:, 0]).max() > 1


def test_mixtures_of_the_ends_are_one_hot():
    _, y, _ = asked("class", rows=1)
    np.testing.assert_array_equal(y[0, [0, -1]], jax.nn.one_hot(CLASSES[:2], 10))
