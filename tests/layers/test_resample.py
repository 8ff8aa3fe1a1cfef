import numpy as np

from biggan_jax.layers.resample import average_pool, upsample

X = np.arange(2 * 2 * 4 * 3, dtype=np.float32).reshape(2, 2, 4, 3)


def test_upsampling_repeats_each_pixel():
    y = np.asarray(upsample(X))
    assert y.shape == (2, 4, 8, 3)
    for dy in (0, 1):
        for dx in (0, 1):
            np.testing.assert_array_equal(y[:, dy::2, dx::2], X)


def test_pooling_averages_each_square_and_undoes_upsampling():
    np.testing.assert_allclose(average_pool(X)[0, 0, 0], X[0, :2, :2].mean((0, 1)))
    np.testing.assert_allclose(average_pool(upsample(X)), X)
