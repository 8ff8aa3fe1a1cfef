import pytest

from biggan_jax.tools.classes import terms
from biggan_jax.types import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("207 - 281 + 3", [(1, "207"), (-1, "281"), (1, "3")]),
        ("0.5*3 + .5 * 8", [(0.5, "3"), (0.5, "8")]),
        ("-3 + -2*5 - -8", [(-1, "3"), (-2, "5"), (1, "8")]),
        ("great white shark - ping-pong ball", [(1, "great white shark"), (-1, "ping-pong ball")]),
        ("runs/a-b.npz:0 - 2*c.npz:3", [(1, "runs/a-b.npz:0"), (-2, "c.npz:3")]),
        ("  7  ", [(1, "7")]),
    ],
)
def test_a_sum_is_read_term_by_term(text, expected):
    assert terms(text) == expected


@pytest.mark.parametrize("text", ["", "3 +", "3 + + 5", "3 * 5 * 8", "0.5*", "* 3", "- "])
def test_an_invalid_sum_is_refused(text):
    with pytest.raises(UserError, match="is not a sum such as"):
        terms(text)
