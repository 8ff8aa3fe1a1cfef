import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.layers import spectral
from biggan_jax.stability import spectra
from biggan_jax.stability.spectra import top_singular_values
from tests.conftest import leaves

ROUNDING = 1e-5
"""Relative to the largest singular value: the error of several consecutive float32 sums of a thousand terms."""
DENSE = 1e-3
"""The error if many values differ by less than a thousandth: the method does not separate them."""


def with_values(values, rows, columns, seed=0):
    """A float64 matrix [rows, columns] with these singular values, the rest 0."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(values))))[0] for n in (rows, columns))
    return left * values @ right.T


@functools.cache
def cases():
    """{name: (weight, tolerance relative to its largest value)}; not at import, since every worker imports every file."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape)
    dense = normal(1152, 128)
    return {
        "random": (dense, DENSE),
        "random_square": (normal(256, 256), DENSE),
        "convolution": (normal(3, 3, 40, 120), DENSE),
        "narrow_convolution": (normal(1, 1, 100, 130), DENSE),
        "fewer_inputs": (normal(120, 1000), DENSE),
        "few_inputs": (normal(20, 300), ROUNDING),
        "few_outputs": (normal(3, 3, 64, 3), ROUNDING),
        "one_output": (normal(64, 1), ROUNDING),
        "two_outputs": (normal(64, 2), ROUNDING),
        "all_equal": (with_values(np.full(128, 0.7), 512, 128), ROUNDING),
        "all_equal_few": (with_values(np.full(64, 0.7), 512, 64), ROUNDING),
        "twice_the_first": (with_values([5.0, 5, 3, 1, 1, 1], 300, 200), ROUNDING),
        "three_times_the_second": (with_values([5.0, 3, 3, 3, *np.linspace(1, 0, 90)], 300, 200), ROUNDING),
        "rank_two": (with_values([3.0, 2.0], 300, 200), ROUNDING),
        "rank_one_few": (with_values([3.0], 300, 20), ROUNDING),
        "zero": (np.zeros((300, 200)), ROUNDING),
        "zero_few": (np.zeros((300, 20)), ROUNDING),
        "tiny": (dense * 1e-6, DENSE),
        "tiniest": (dense * 1e-30, DENSE),
        "huge": (dense * 1e6, DENSE),
        "hugest": (dense * 1e30, DENSE),
        "ill_conditioned": (with_values(10.0 ** -np.arange(8), 300, 200), ROUNDING),
        "one_far_above": (with_values([1000.0, *np.linspace(1, 0, 199)], 300, 200), ROUNDING),
    }


ONE = {"u": {"a": {"kernel": 0}}}
"""The vectors of one weight."""


def tree(name="kernel"):
    params = {case: {name: jnp.asarray(weight, jnp.float32)} for case, (weight, _) in cases().items()}
    return params, {"u": {case: {name: 0} for case in cases()}}


@pytest.fixture(scope="module")
def found():
    """The values of all cases, computed at once, and of a weight with a NaN."""
    params, vectors = tree()
    params["nan"] = {"kernel": params["random_square"]["kernel"].at[3, 5].set(jnp.nan)}
    vectors["u"]["nan"] = {"kernel": 0}
    return jax.jit(lambda params: top_singular_values(params, vectors))(params)


def exact(weight, k=3):
    """The values by LAPACK in float64, 0 beyond the smaller side."""
    weight = np.asarray(weight, np.float32).astype(np.float64)  # Of the rounded matrix.
    values = np.linalg.svd(weight.reshape(-1, weight.shape[-1]), compute_uv=False)
    return np.pad(values, (0, k))[:k]


def test_the_values_match_numpy_in_float64(found):
    for case, (weight, tolerance) in cases().items():
        values, expected = found[f"{case}.kernel"], exact(weight)
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance * expected[0], err_msg=case)


@pytest.mark.parametrize("case", ["random", "random_square", "fewer_inputs", "all_equal", "twice_the_first"])
def test_no_value_is_too_large_and_they_decrease(found, case):
    values = found[f"{case}.kernel"]
    assert np.all(values <= exact(cases()[case][0]) * (1 + ROUNDING))
    assert np.all(np.diff(values) <= 0)


def test_values_beyond_the_smaller_side_are_0(found):
    assert found["one_output.kernel"][1:].tolist() == [0, 0]
    assert found["two_outputs.kernel"][1] > 0 == found["two_outputs.kernel"][2]


def test_a_nan_weight_affects_only_its_own_values(found):
    assert np.isnan(found["nan.kernel"]).all()
    assert all(np.isfinite(values).all() for name, values in found.items() if name != "nan.kernel")


def test_both_networks_fresh_and_trained(model):
    """Fresh weights are orthogonal, with equal values; trained ones are not."""
    _, state = model
    rng = np.random.default_rng(0)
    for network in (state.networks["G"], state.networks["D"]):
        vectors = network.spectral
        moved = jax.tree.map(lambda w: w + 0.1 * rng.standard_normal(w.shape).astype(np.float32), network.params)
        measure = jax.jit(top_singular_values)
        for params in (network.params, moved):
            values, weights = measure(params, vectors), leaves(params)
            assert values.keys() == leaves(vectors["u"]).keys(), "exactly the weights with a u-vector"
            for name, of_one in values.items():
                matrix = weights[name].T if name.endswith("embedding") else weights[name]
                expected = exact(matrix)
                np.testing.assert_allclose(of_one, expected, rtol=0, atol=ROUNDING * expected[0], err_msg=name)


def test_k_sets_the_number_of_values():
    weight = jnp.asarray(with_values(np.arange(20.0, 0, -1), 60, 40), jnp.float32)
    for k in (1, 5):
        measure = jax.jit(lambda weight, k=k: top_singular_values({"a": {"kernel": weight}}, ONE, k)["a.kernel"])
        values = measure(weight)
        np.testing.assert_allclose(values, np.arange(20.0, 20 - k, -1), rtol=ROUNDING)


def test_a_network_without_spectral_norm_has_no_values():
    assert top_singular_values({"linear": {"kernel": jnp.ones((4, 4))}}, {"u": {}}) == {}


def test_sharded_weights_have_the_same_values():
    rng = np.random.default_rng(1)
    shapes = {"in_first": (3, 3, 160, 128), "out_first": (128, 160), "few": (1000, 24), "whole": (30, 20)}
    params = {name: {"kernel": jnp.asarray(rng.standard_normal(shape), jnp.float32)} for name, shape in shapes.items()}
    vectors = {"u": {name: {"kernel": 0} for name in shapes}}
    mesh = sharding.make_mesh()
    layout = sharding.state_sharding(params, mesh, split_over_data=True)
    assert sum(not s.is_fully_replicated for s in jax.tree.leaves(layout)) == 3
    measure = jax.jit(
        lambda params: top_singular_values(params, vectors, mesh=mesh), out_shardings=sharding.replicated(mesh)
    )
    values = measure(jax.device_put(params, layout))
    for name in shapes:
        expected = exact(params[name]["kernel"])
        np.testing.assert_allclose(values[f"{name}.kernel"], expected, rtol=0, atol=DENSE * expected[0])


def test_bfloat16_weights_are_read_as_float32():
    params = {"a": {"kernel": jnp.ones((200, 100), jnp.bfloat16)}}
    values = jax.eval_shape(top_singular_values, params, ONE)["a.kernel"]
    assert (values.shape, values.dtype) == ((3,), jnp.float32)


def test_every_product_has_full_precision():
    params, vectors = tree()
    text = str(jax.make_jaxpr(lambda params: top_singular_values(params, vectors))(params))
    products = [line for line in text.replace("\n", " ").split("dot_general[")[1:]]
    assert products
    assert all("Precision.HIGHEST, Precision.HIGHEST" in line.split("]", 1)[0] + line[:400] for line in products)


def test_products_are_no_wider_than_the_basis():
    """A weight with 1,024 columns is multiplied with blocks of four; its Gram matrix would cost a hundred times as much."""
    params = {"a": {"kernel": jax.ShapeDtypeStruct((4096, 1024), jnp.float32)}}
    flops = jax.jit(lambda p: top_singular_values(p, ONE)).lower(params).cost_analysis()["flops"]
    one_product = 2 * 4096 * 1024 * 4
    # The loop's body counts once: two products in it, 1.5 after it for three vectors, and the basis.
    assert flops < 6 * one_product


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 3, 1536, 1536), (1536, 1536)])
def test_the_largest_weights_of_biggan_match_numpy(shape):
    weight = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    values, expected = jax.jit(top_singular_values)({"a": {"kernel": weight}}, ONE)["a.kernel"], exact(weight)
    np.testing.assert_allclose(values, expected, rtol=DENSE)


def test_an_embedding_is_transposed():
    assert spectral.outputs_last(("embed", "embedding"), jnp.ones((10, 4))).shape == (4, 10)
    weight = np.random.default_rng(3).standard_normal((130, 110)).astype(np.float32)
    measure = jax.jit(lambda weight: top_singular_values({"e": {"embedding": weight}}, {"u": {"e": {"embedding": 0}}}))
    values = measure(weight)["e.embedding"]
    np.testing.assert_allclose(values, exact(weight), rtol=DENSE)
    assert spectra.STEPS * 4 < 110, "by the Krylov basis"
