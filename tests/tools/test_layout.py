import numpy as np
import pytest

from biggan_jax.tools import layout
from biggan_jax.tools.layout import Grid, draw

RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(rows, columns, size, color=RED):
    return np.full((rows, columns, size, size, 3), color, np.uint8)


def boxes(drawn, color):
    """Rows and columns of the picture that contain the colour."""
    found = (drawn == color).all(-1)
    return np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))


def dark(drawn):
    return (drawn < 100).all(-1)


def test_small_images_are_enlarged_by_a_whole_factor():
    images = plain(2, 3, 16)
    images[1, 2] = BLUE
    drawn = draw(Grid(images))
    rows, columns = boxes(drawn, BLUE)
    assert len(rows) == len(columns) == 80, "five times 16, the least that is no less than 72"
    red_rows, red_columns = boxes(drawn, RED)
    assert rows[0] > red_rows[0] + 80 and columns[-1] == red_columns[-1]
    assert (drawn[0] == 255).all() and (drawn[:, 0] == 255).all()


def test_labels_stand_beside_the_images_and_within_the_grid():
    words = ["a rather long name of a class that goes on and on", "b\nc"]
    drawn = draw(Grid(plain(2, 2, 16), words, ["over both", ""], [["under", "it"], ["or", "this"]]))
    top, left = (axis[0] for axis in boxes(drawn, RED))
    assert dark(drawn[:, : left - 1]).any() and dark(drawn[: top - 1]).any()
    edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (edge == 255).all(), "nothing is cut off"
    picture = (drawn == RED).all(-1).sum()
    assert picture == 2 * 2 * 80 * 80, "and nothing is written over a picture"


def test_a_label_spans_columns_without_one():
    drawn = draw(Grid(plain(1, 4, 64), columns=["one", "over three", "", ""]))
    columns = boxes(drawn, RED)[1]
    written = np.flatnonzero(dark(drawn[: boxes(drawn, RED)[0][0] - 1]).any(0))
    middle = written[written > columns[0] + 132].mean()
    second = columns[0] + 128 + (128 // 36)
    assert abs(middle - (second + columns[-1]) / 2) < 10


def test_breaks_add_gaps():
    close = draw(Grid(plain(2, 3, 16)))
    apart = draw(Grid(plain(2, 3, 16), row_breaks=[1], column_breaks=[1, 2]))
    assert apart.shape[0] - close.shape[0] == 16
    assert apart.shape[1] - close.shape[1] == 32


@pytest.mark.parametrize(
    ("longest", "size", "factor"),
    [(160, 16, 5), (1280, 128, 1), (5120, 512, -2), (100 * 512, 512, -7), (100 * 128, 128, 1), (100 * 16, 16, 2)],
)
def test_long_grids_are_shrunk_while_images_stay_visible(longest, size, factor):
    assert layout._factor(longest, size, layout.SMALLEST) == factor


def test_large_pictures_are_averaged_over_areas(monkeypatch):
    monkeypatch.setattr(layout, "LONGEST", 300)
    images = plain(1, 2, 200)
    images[..., ::2, :] = 100  # Columns of two colours.
    rows, columns = boxes(draw(Grid(images)), (150, 50, 50))
    assert len(rows) == 100 and len(columns) == 200


def test_grey_images_are_drawn_in_rgb():
    drawn = draw(Grid(np.full((1, 2, 16, 16, 1), 90, np.uint8)))
    assert drawn.shape[-1] == 3 and (drawn == 90).all(-1).sum() == 2 * 80 * 80
