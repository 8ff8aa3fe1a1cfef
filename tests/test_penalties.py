import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import penalties
from biggan_jax.gan import GAN
from biggan_jax.losses import LOSSES
from tests.conftest import discriminate

RNG = np.random.default_rng(0)
normal = lambda *shape: RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def params():
    return {
        "shared": {"embedding": normal(10, 4)},
        "conv": {"kernel": normal(3, 3, 2, 5), "bias": normal(5)},
        "wide": {"kernel": normal(3, 40)},
        "embed": {"embedding": normal(10, 6)},
        "attention": {"gamma": np.float32(2)},
    }


def off_diagonal(rows):
    gram = rows @ rows.T
    return gram - np.diag(np.diag(gram))


def test_orthogonal_sums_squared_products_of_different_filters(params):
    filters = params["conv"]["kernel"].reshape(-1, 5).T, params["wide"]["kernel"].T, params["embed"]["embedding"]
    expected = sum((off_diagonal(rows.astype(np.float64)) ** 2).sum() for rows in filters)
    assert float(penalties.orthogonal(params)) == pytest.approx(expected, rel=1e-5)


def test_orthogonal_filters_of_any_length_have_no_penalty():
    kernel = np.diag([1.0, 5.0, 0.1]).astype(np.float32)
    assert float(penalties.orthogonal({"linear": {"kernel": kernel}})) == 0


@pytest.mark.parametrize("factor", [4.0, 2.0])
def test_gradient_is_factor_times_gram_matrix_times_weights(params, factor):
    gan = GAN(networks={}, image_shape=(), loss=LOSSES["hinge"], d_ortho=0.1, ortho_factor=factor)
    penalty = lambda params: gan.updates()[0].penalty({"D": params})[0]
    grads = jax.grad(penalty)(params)
    rows = params["conv"]["kernel"].reshape(-1, 5).T
    expected = 0.1 * factor * off_diagonal(rows) @ rows
    np.testing.assert_allclose(grads["conv"]["kernel"].reshape(-1, 5).T, expected, rtol=1e-4, atol=1e-4)
    rows = params["wide"]["kernel"].T
    expected = 0.1 * factor * off_diagonal(rows) @ rows
    np.testing.assert_allclose(grads["wide"]["kernel"].T, expected, rtol=1e-4, atol=1e-4)
    assert not np.any(grads["shared"]["embedding"]) and not np.any(grads["conv"]["bias"])


def test_a_wide_matrix_needs_only_the_small_product():
    jaxpr = jax.make_jaxpr(penalties.orthogonal)({"linear": {"kernel": np.ones((20, 3000), np.float32)}})
    assert "3000,3000" not in str(jaxpr) and "20,20" in str(jaxpr)


def test_gradient_penalty_is_half_the_mean_squared_gradient_norm():
    a = jnp.asarray(normal(4, 4, 3))
    x = jnp.asarray(normal(2, 4, 4, 3))
    discriminate = lambda x: jnp.square(jnp.einsum("bhwc,hwc->b", x, a))
    scores = np.einsum("bhwc,hwc->b", x, a)
    expected = np.mean([np.sum((2 * s * np.asarray(a)) ** 2) for s in scores]) / 2
    assert float(penalties.gradient_penalty(discriminate, x)) == pytest.approx(expected, rel=1e-5)


def test_gradient_penalty_is_differentiable_through_attention(model):
    gan, state = model
    x = jnp.asarray(normal(2, 16, 16, 3))
    y, key = jnp.array([0, 1]), jax.random.key(0)
    penalty = lambda p: penalties.gradient_penalty(lambda x: discriminate(gan, p, x, y, key), x)
    grads = jax.jit(jax.grad(penalty))(state.networks["D"].params)
    assert np.isfinite(jax.tree.leaves(jax.tree.map(jnp.sum, grads))).all()
    assert float(jnp.abs(grads["linear"]["kernel"]).max()) > 0


def linear(weights):
    return lambda x: jnp.einsum("bhwc,hwc->b", x, weights)


def test_each_penalty_of_a_linear_d_is_its_closed_form():
    weights, real, fake = normal(4, 4, 3), normal(2, 4, 4, 3), normal(2, 4, 4, 3)
    squared = float((weights.astype(np.float64) ** 2).sum())
    mixed = penalties.mix(real, fake, jnp.array([0.25, 1.0]))
    np.testing.assert_allclose(mixed, [0.25 * real[0] + 0.75 * fake[0], real[1]], rtol=1e-6)
    near = penalties.perturb(real, jnp.array([0.0, 1.0]), jnp.ones_like(real))
    np.testing.assert_allclose(near, [real[0], real[1] + 0.5 * real.std(ddof=1)], rtol=1e-5)
    for x in (mixed, near):
        assert float(penalties.gradient_penalty(linear(weights), x)) == pytest.approx(squared / 2, rel=1e-5)
        assert float(penalties.one_centred(linear(weights), x)) == pytest.approx((squared**0.5 - 1) ** 2, rel=1e-5)
        assert float(penalties.largest(linear(weights), x)) == pytest.approx(squared, rel=1e-5)


def test_the_norm_of_a_gradient_of_zero_has_a_finite_gradient():
    grads = jax.grad(lambda w: penalties.one_centred(linear(w), jnp.ones((2, 4, 4, 3))))(jnp.zeros((4, 4, 3)))
    assert not np.any(grads)


def test_the_largest_gradient_is_that_of_one_image():
    x = jnp.asarray([1.0, 3.0, 2.0]).reshape(3, 1, 1, 1)
    assert float(penalties.largest(lambda x: jnp.square(x).sum((1, 2, 3)), x)) == pytest.approx(36)


def test_lecam_acts_only_beyond_the_anchors():
    at = lambda real, fake: float(penalties.lecam(jnp.array([real]), jnp.array([fake]), 1.0, -1.0))
    assert at(-2.0, 2.0) == 0.0  # Below the fake anchor, and above the real one.
    assert at(1.0, -1.0) == 4 + 4


def test_top_k_weighs_only_the_most_real():
    np.testing.assert_allclose(penalties.top_k(jnp.array([0.0, 3.0, -1.0, 2.0]), 2.0), [0, 2, 0, 2])


def test_clipping_bounds_every_weight():
    clipped = penalties.clip({"a": jnp.array([-3.0, 0.005]), "b": jnp.array([3.0])}, 0.01)
    np.testing.assert_allclose(np.concatenate([clipped["a"], clipped["b"]]), [-0.01, 0.005, 0.01])


def test_feature_matching_compares_means_of_features():
    real, fake = jnp.array([[0.0, 2.0], [2.0, 2.0]]), jnp.array([[0.0, 0.0], [0.0, 0.0]])
    assert float(penalties.feature_matching(real, fake)) == 1.5
