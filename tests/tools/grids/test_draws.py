import jax
import numpy as np
import pytest

from biggan_jax import latents
from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.tools.grids import draws
from biggan_jax.types import UserError
from tests.conftest import tiny_config
from tests.tools.grids.fakes import NAMES, Sampler

CLASSES = np.array([2, 5, 7], np.int32)


def asked_in_rows(sampler, rows):
    """Return z [rows, columns, dim_z] and y [rows, columns] of the only call of `images`."""
    ((z, y),) = sampler.asked
    return z.reshape(rows, -1, z.shape[-1]), y.reshape(rows, -1)


def test_a_row_of_classes_is_one_class_with_a_z_for_each_picture():
    sampler = Sampler()
    grid = draws.classes(sampler, CLASSES, 4, 0, NAMES)
    z, y = asked_in_rows(sampler, 3)
    assert (y == CLASSES[:, None]).all()
    assert len(np.unique(z.reshape(12, -1), axis=0)) == 12
    assert grid.images.shape[:2] == (3, 4)
    assert grid.rows == ["class 2", "class 5", "class 7"]


def test_with_fixed_z_a_column_is_one_z_whatever_the_class():
    sampler = Sampler()
    draws.fixed_z(sampler, CLASSES, 4, 0, NAMES)
    z, y = asked_in_rows(sampler, 3)
    assert (z == z[0]).all()
    assert len(np.unique(z[0], axis=0)) == 4
    assert (y == CLASSES[:, None]).all()


def test_each_threshold_is_drawn_by_its_own_sampler():
    samplers = [Sampler(Truncation(t)) for t in (2.0, 0.5)]
    grid = draws.truncation(iter(samplers), CLASSES, 4, 0, NAMES)
    assert list(grid.rows[:4]) == [
        "class 2\nresample 2",
        "class 2\nresample 0.5",
        "class 5\nresample 2",
        "class 5\nresample 0.5",
    ]
    assert list(grid.row_breaks) == [2, 4]
    again = [Sampler(Truncation(t)) for t in (2.0, 0.5)]
    for i, sampler in enumerate(again):
        expected = sampler.images(sampler.latents(4, 0), np.full(4, 5, np.int32))
        np.testing.assert_array_equal(grid.images[2 + i], expected)


@pytest.mark.parametrize("kind", latents.TRUNCATIONS)
def test_the_same_seed_gives_the_same_z_at_every_threshold(kind):
    """A column of the truncation grid is one z: scaled, or, if z is drawn again, in the same order."""
    wide, tight = (
        np.asarray(latents.draw("normal", jax.random.key(0), 20, 12, Truncation(t, kind))).ravel() for t in (2.0, 0.5)
    )
    if kind != "resample":
        np.testing.assert_allclose(wide / 4, tight, rtol=1e-5)
    np.testing.assert_array_equal(wide.argsort(), tight.argsort())


def test_each_row_redraws_one_chunk_and_the_last_all_of_z():
    sampler = Sampler()
    grid = draws.chunks(sampler, CLASSES[:2], 5, 0, NAMES)
    z, y = asked_in_rows(sampler, 2 * 4)
    parts = z.reshape(2, 4, 5, 3, 4)  # class, row, column, chunk, entry
    changed = (parts != parts[:, :, :1]).any(-1)
    assert not changed[:, :, 0].any()
    for row, chunks in enumerate([[0], [1], [2], [0, 1, 2]]):
        assert changed[:, row, 1:, chunks].all()
        assert changed[:, row].sum() == 2 * 4 * len(chunks)
    assert (z.reshape(2, 4, 5, -1)[:, :, 0] == z.reshape(2, 4, 5, -1)[:, :1, 0]).all()
    assert (y.reshape(2, -1) == CLASSES[:2, None]).all()
    assert [words.split("\n")[1] for words in grid.rows[:4]] == [
        "first layer, 4 px",
        "block 1, 8 px",
        "block 2, 16 px",
        "all of z",
    ]


def test_a_row_of_chunks_says_by_how_much_its_pictures_change():
    sampler = Sampler()
    sampler.images = lambda z, y: (
        np.where(np.arange(len(z))[:, None, None, None] % 3, 51, 0).astype(np.uint8).repeat(3, -1)
    )
    grid = draws.chunks(sampler, CLASSES[:1], 3, 0, NAMES)
    assert [words.split("\n")[2] for words in grid.rows] == ["changes 20.0%"] * 4


def test_a_model_that_does_not_split_z_has_no_grid_of_chunks():
    plain = tiny_config()
    plain.model.skip_z = False
    for config in (plain, tiny_config("biggan_deep")):
        with pytest.raises(UserError, match="does not split z into chunks"):
            draws.chunks_of(build_gan(config))


def test_the_chunks_of_a_model_are_named_by_where_they_enter():
    assert draws.chunks_of(build_gan(tiny_config())) == ["first layer, 4 px", "block 1, 8 px", "block 2, 16 px"]


def test_an_unconditional_model_has_rows_without_class():
    sampler = Sampler(Truncation(2.0), num_classes=0)
    assert draws.classes(sampler, np.zeros(1, np.int32), 3, 0, [""]).rows == [""]
    assert draws.truncation([sampler], np.zeros(1, np.int32), 3, 0, [""]).rows == ["resample 2"]
