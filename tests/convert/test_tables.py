import numpy as np

from biggan_jax.convert import tables

A = np.arange(2 * 3 * 16 * 5, dtype=np.float32)


def test_the_way_back_is_the_exact_inverse():
    for layout, there in [
        (tables.SAME, A),
        (tables.TRANSPOSED, A.reshape(32, 15)),
        (tables.CONVOLUTION, A.reshape(4, 20, 3, 2)),
        (tables.ROW, A[None]),
        (tables.ROW, A[:1]),
        (tables.channels_last(), A.reshape(48, 10)),
        (tables.channels_last(), A),
        (tables.channels_last().then(tables.TRANSPOSED), A.reshape(48, 10)),
        (tables.ROW.then(tables.channels_last()), A[None]),
        (tables.rotated(7, axis=0), A.reshape(32, 15)),
        (tables.channels_last(8), A[:384]),
    ]:
        back = layout.to_there(layout.to_here(there))
        assert back.shape == there.shape
        np.testing.assert_array_equal(back, there)


def test_channels_last_reorders_features_as_it_does_images():
    features = np.arange(3 * 4 * 4)
    image = features.reshape(3, 4, 4)
    np.testing.assert_array_equal(tables.channels_last().to_here(features).reshape(4, 4, 3), image.transpose(1, 2, 0))


def test_rotated_puts_last_what_came_first():
    assert tables.rotated(2, axis=0).to_here(np.array([1, 2, 3, 4, 5])).tolist() == [3, 4, 5, 1, 2]


def test_a_convolutions_input_vector_follows_its_kernel():
    kernel, v = np.random.default_rng(0).standard_normal((6, 2, 3, 3)), np.arange(18.0)
    here = tables.CONVOLUTION.to_here(kernel).reshape(18, 6)
    np.testing.assert_allclose(tables.channels_last(3).to_here(v) @ here, kernel.reshape(6, 18) @ v)
