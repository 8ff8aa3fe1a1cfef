import ml_dtypes
import numpy as np
import pytest

from biggan_jax.checkpoint import checksums

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "array",
    [
        RNG.normal(size=(3, 5, 7)).astype(np.float32),
        RNG.normal(size=(checksums.BLOCK + 1,)).astype(np.float32),
        RNG.normal(size=(2, checksums.BLOCK)),
        RNG.integers(0, 255, (3 * checksums.BLOCK - 1,), np.uint8),
        RNG.normal(size=(300, 300)).astype(ml_dtypes.bfloat16),
        RNG.random(100) < 0.5,
        np.float32(3),
        np.zeros((0, 4), np.float32),
        np.arange(24, dtype=np.int64).reshape(4, 6).T,
    ],
    ids=lambda array: checksums.type_of(array),
)
def test_sums_by_blocks_are_those_of_whole_arrays(array):
    array = np.asarray(array)
    words = np.ascontiguousarray(np.atleast_1d(array)).view(checksums._word(array.dtype))
    assert int(checksums._on_host(array)) == int(checksums._sum(words, np))


def test_a_flipped_bit_or_two_swapped_words_change_the_sum():
    array = RNG.integers(0, 2**32, 2 * checksums.BLOCK, np.uint32)
    before = checksums._on_host(array)
    for change in (lambda x: x.__setitem__(-1, x[-1] ^ 1), lambda x: x.__setitem__([0, -1], x[[-1, 0]])):
        changed = array.copy()
        change(changed)
        assert checksums._on_host(changed) != before
