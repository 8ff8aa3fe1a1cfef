import jax
import numpy as np

from biggan_jax.layers.linear import ClassEmbedding, Conv3x3


def test_a_one_hot_mixture_is_the_class():
    embedding = ClassEmbedding(num_classes=5, features=3)
    y = np.array([0, 4, 2])
    variables = embedding.init(jax.random.key(0), y)
    mixed = embedding.apply(variables, np.eye(5, dtype=np.float32)[y])
    np.testing.assert_allclose(mixed, embedding.apply(variables, y), atol=1e-6)


def test_kernels_start_orthogonal_and_biases_at_zero():
    params = Conv3x3(8).init(jax.random.key(0), np.zeros((1, 4, 4, 2), np.float32))["params"]
    matrix = np.asarray(params["kernel"]).reshape(-1, 8)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)
    assert (params["bias"] == 0).all()
