import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers.linear import ClassEmbedding, Conv3x3, FirstOfConv3x3, look_up


def test_a_one_hot_mixture_equals_the_class():
    embedding = ClassEmbedding(num_classes=5, features=3)
    y = np.array([0, 4, 2])
    variables = embedding.init(jax.random.key(0), y)
    mixed = embedding.apply(variables, np.eye(5, dtype=np.float32)[y])
    np.testing.assert_allclose(mixed, embedding.apply(variables, y), atol=1e-6)


def test_the_gradient_of_a_look_up_adds_repeated_classes():
    table, y = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([2, 0, 2])
    rows, pullback = jax.vjp(lambda table: look_up(table, y), table)
    np.testing.assert_array_equal(rows, table[y])
    g = np.array([[1, 2, 3], [4, 5, 6], [10, 20, 30]], np.float32)
    np.testing.assert_array_equal(*pullback(g), [[4, 5, 6], [0, 0, 0], [11, 22, 33], [0, 0, 0]])


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-4), ("bfloat16", 0.2)])
def test_first_filters_equal_those_of_the_full_convolution(dtype, close):
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 8)).astype(np.float32)
    first, whole = FirstOfConv3x3(8, 3, jnp.dtype(dtype)), Conv3x3(8)
    params = whole.init(jax.random.key(0), x)

    @functools.partial(jax.jit, static_argnums=0)
    def with_gradients(apply):
        """The output, and the gradients of half its square."""
        y, pullback = jax.vjp(apply, params, x)
        return y, pullback(y)

    y, grads = with_gradients(first.apply)
    expected, expected_grads = with_gradients(lambda *inputs: whole.apply(*inputs)[..., :3])
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype(np.float32), expected, atol=close)
    # Without a gradient, another form computes it.
    np.testing.assert_allclose(first.apply(params, x).astype(np.float32), y.astype(np.float32), atol=close / 10)
    for ours, theirs in zip(*map(jax.tree.leaves, (grads, expected_grads)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=close * (1 + np.abs(theirs).max()))


def test_kernels_start_orthogonal_and_biases_at_zero():
    params = Conv3x3(8).init(jax.random.key(0), np.zeros((1, 4, 4, 2), np.float32))["params"]
    matrix = np.asarray(params["kernel"]).reshape(-1, 8)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)
    assert (params["bias"] == 0).all()
