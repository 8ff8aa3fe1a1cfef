import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import spectral
from tests.conftest import assert_identical


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    return {
        "conv": {"kernel": normal(3, 3, 4, 6), "bias": normal(6)},
        "embed": {"embedding": normal(10, 6)},
        "attention": {"gamma": normal()},
    }


def test_rules_select_kernels_and_only_ds_embedding(params):
    for_g = spectral.init(params, spectral.kernels, jax.random.key(0))
    for_d = spectral.init(params, spectral.kernels_and_embeddings, jax.random.key(0))
    assert set(for_g["u"]) == {"conv"} and set(for_g["u"]["conv"]) == {"kernel"}
    assert set(for_d["u"]) == {"conv", "embed"}
    assert for_d["u"]["conv"]["kernel"].shape == (6,), "output features"
    assert for_d["u"]["embed"]["embedding"].shape == (10,), "classes"


def test_the_largest_singular_value_tends_to_one(params):
    u = spectral.init(params, spectral.kernels_and_embeddings, jax.random.key(0))
    normalize = jax.jit(spectral.normalize)
    for _ in range(100):
        weights, u = normalize(params, u)
    matrices = weights["conv"]["kernel"].reshape(-1, 6), weights["embed"]["embedding"]
    for matrix in matrices:
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=1e-4)
    assert_identical(weights["conv"]["bias"], params["conv"]["bias"])


@pytest.mark.parametrize("scale", [1.0, 1e-5, 0.0])
def test_one_power_step_equals_the_reference_formula(params, scale, eps=1e-4):
    """Includes vectors shorter than eps, which are divided by eps."""
    params = jax.tree.map(lambda w: w * scale, params)
    u = spectral.init(params, spectral.kernels_and_embeddings, jax.random.key(0))
    weights, new_u = spectral.normalize(params, u, eps=eps)
    w = np.asarray(params["embed"]["embedding"], np.float64)  # [classes, features], u on the classes' side
    v = np.asarray(u["u"]["embed"]["embedding"]) @ w
    v /= max(np.linalg.norm(v), eps)
    next_u = v @ w.T
    next_u /= max(np.linalg.norm(next_u), eps)
    np.testing.assert_allclose(new_u["u"]["embed"]["embedding"], next_u, rtol=1e-4, atol=1e-6)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(weights["embed"]["embedding"], w / (v @ w.T @ next_u), rtol=1e-4, atol=1e-6)


def test_more_iterations_are_more_power_steps(params):
    u = spectral.init(params, spectral.kernels, jax.random.key(0))
    _, once = spectral.normalize(params, u)
    _, twice = spectral.normalize(params, once)
    _, both = spectral.normalize(params, u, iterations=2)
    np.testing.assert_allclose(both["u"]["conv"]["kernel"], twice["u"]["conv"]["kernel"], atol=1e-6)


def test_gradient_equals_finite_differences_at_fixed_u_and_v():
    rng = np.random.default_rng(1)
    w, r = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    u0 = rng.standard_normal(4)
    v = w @ u0 / np.linalg.norm(w @ u0)
    u = v @ w / np.linalg.norm(v @ w)
    f = lambda w: (r * w).sum() / (v @ w @ u)
    h = 1e-6
    expected = np.array(
        [[(f(w + h * e) - f(w - h * e)) / (2 * h) for e in row] for row in np.eye(20).reshape(5, 4, 5, 4)]
    )

    def loss(kernel):
        weights, _ = spectral.normalize({"kernel": kernel}, {"u": {"kernel": jnp.asarray(u0, jnp.float32)}})
        return jnp.sum(jnp.asarray(r, jnp.float32) * weights["kernel"])

    # float32 against float64, for values of order one.
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(w, jnp.float32)), expected, atol=1e-4)


def test_low_precision_weights_are_normalised_in_float32(params):
    low = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
    u = spectral.init(params, spectral.kernels, jax.random.key(0))
    _, from_low = spectral.normalize(low, u)
    _, exact = spectral.normalize(jax.tree.map(lambda w: w.astype(jnp.float32), low), u)
    assert from_low["u"]["conv"]["kernel"].dtype == jnp.float32
    assert_identical(from_low, exact)


def test_every_multiplication_has_full_precision(params):
    u = spectral.init(params, spectral.kernels, jax.random.key(0))
    jaxpr = jax.make_jaxpr(spectral.normalize)(params, u)
    dots = [equation for equation in jaxpr.eqns if equation.primitive.name == "dot_general"]
    inner = [e for q in jaxpr.eqns if "jaxpr" in q.params for e in q.params["jaxpr"].eqns]
    dots += [equation for equation in inner if equation.primitive.name == "dot_general"]
    assert dots
    assert all(equation.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2 for equation in dots)


def test_stored_vectors_give_sigma_without_a_power_step(params):
    u = spectral.init(params, spectral.kernels, jax.random.key(0), keep_v=True)
    once, after = spectral.normalize(params, u)
    assert after.keys() == {"u", "v"}
    again = spectral.normalize_stored(params, after)
    np.testing.assert_allclose(again["conv"]["kernel"], once["conv"]["kernel"], rtol=1e-6)
    # Other weights with the same vectors: sigma follows from them by u and v, without a power step.
    other = jax.tree.map(lambda w: 2 * w, params)
    np.testing.assert_allclose(
        spectral.normalize_stored(other, after)["conv"]["kernel"], once["conv"]["kernel"], rtol=1e-6
    )


def test_initial_v_belongs_to_the_initial_u(params):
    vectors = spectral.init(params, spectral.kernels, jax.random.key(0), keep_v=True)
    matrix = params["conv"]["kernel"].reshape(-1, 6)
    v = matrix @ np.asarray(vectors["u"]["conv"]["kernel"])
    np.testing.assert_allclose(vectors["v"]["conv"]["kernel"], v / np.linalg.norm(v), atol=1e-6)


def test_without_a_rule_nothing_is_normalised(params):
    u = spectral.init(params, spectral.no_weights, jax.random.key(0))
    weights, _ = spectral.normalize(params, u)
    assert_identical(weights, params)
