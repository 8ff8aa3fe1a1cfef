import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import blocked_attention, fused_attention
from biggan_jax.layers.attention import SelfAttention, attend


def naive(x, params):
    """Attend in one image [H, W, C], position by position."""
    h, w, c = x.shape
    project = lambda name: x.reshape(-1, c) @ np.asarray(params[name]["kernel"])[0, 0]
    pool = lambda t: t.reshape(h // 2, 2, w // 2, 2, -1).max((1, 3)).reshape(h * w // 4, -1)
    theta, phi, g = project("theta"), pool(project("phi")), pool(project("g"))
    gathered = []
    for query in theta:
        weights = np.exp(phi @ query - (phi @ query).max())
        gathered.append(weights @ g / weights.sum())
    out = np.array(gathered) @ np.asarray(params["o"]["kernel"])[0, 0]
    return x + params["gamma"] * out.reshape(h, w, c)


def test_self_attention_equals_a_naive_loop():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 16)).astype(np.float32)
    params = SelfAttention().init(jax.random.key(0), x)["params"]
    params = {**params, "gamma": np.float32(0.7)}
    expected = np.stack([naive(image, params) for image in x])
    np.testing.assert_allclose(SelfAttention().apply({"params": params}, x), expected, atol=1e-5)


def test_self_attention_starts_as_identity_without_biases():
    x = np.ones((1, 4, 4, 16), np.float32)
    variables = SelfAttention().init(jax.random.key(0), x)
    np.testing.assert_array_equal(SelfAttention().apply(variables, x), x)
    assert {name: set(p) for name, p in variables["params"].items() if name != "gamma"} == {
        name: {"kernel"} for name in ("theta", "phi", "g", "o")
    }


def test_attention_gets_no_gradient_until_gamma_leaves_zero():
    x, target = np.random.default_rng(0).standard_normal((2, 2, 4, 6, 16)).astype(np.float32)
    loss = lambda params: jnp.sum(target * SelfAttention().apply({"params": params}, x))
    params = SelfAttention().init(jax.random.key(0), x)["params"]
    for gamma, moved in ((0.0, {"gamma"}), (0.5, {"gamma", "theta", "phi", "g", "o"})):
        grads = jax.jit(jax.grad(loss))(params | {"gamma": jnp.float32(gamma)})
        assert {name for name, grad in grads.items() if any(np.any(g) for g in jax.tree.leaves(grad))} == moved


def formula(q, k, v):
    return jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", q, k), axis=-1), v)


interpreted = functools.partial(fused_attention.attend, interpret=True)


def with_gradients(attend):
    """Return the jitted function of (q, k, v) and g to the output and the gradients of its product with g."""

    def both(inputs, g):
        out, pullback = jax.vjp(attend, *inputs)
        return out, *pullback(g)

    return jax.jit(both)


by_formula = with_gradients(formula)


@pytest.mark.parametrize("ours", [attend, blocked_attention.attend, interpreted], ids=["plain", "blocked", "fused"])
@pytest.mark.parametrize("scores", [1, 128, 2**18])
def test_attention_and_its_gradient_equal_the_formula(ours, scores, monkeypatch):
    for module in (blocked_attention, fused_attention):
        monkeypatch.setattr(module, "SCORES", scores)  # One query per block, several, and all.
    draw = lambda seed, *shape: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    inputs = draw(0, 2, 32, 8), draw(1, 2, 16, 8), draw(2, 2, 16, 24)
    g = draw(3, 2, 32, 24)
    (out, *grads), (expected, *expected_grads) = with_gradients(ours)(inputs, g), by_formula(inputs, g)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for a, b in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("ours", [attend, blocked_attention.attend, interpreted], ids=["plain", "blocked", "fused"])
def test_bfloat16_inputs_have_float32_scores(ours):
    """Scores are not scaled down: rounding them to bfloat16 would change the softmax by tenths."""
    draw = lambda seed, *shape: 2 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    half = [jnp.asarray(x, jnp.bfloat16) for x in (draw(0, 2, 64, 16), draw(1, 2, 16, 16), draw(2, 2, 16, 24))]
    g = jnp.asarray(draw(3, 2, 64, 24), jnp.bfloat16)
    expected = by_formula([x.astype(jnp.float32) for x in half], g.astype(jnp.float32))
    for a, b in zip(with_gradients(ours)(half, g), expected, strict=True):
        assert np.linalg.norm(a.astype(jnp.float32) - b) < 0.01 * np.linalg.norm(b)


@pytest.mark.parametrize("ours", [attend, blocked_attention.attend], ids=["plain", "blocked"])
def test_the_gradient_can_be_differentiated(ours):
    """R1 needs this in D."""
    q, k, v = (np.random.default_rng(i).standard_normal((1, 8, 4)).astype(np.float32) for i in range(3))
    size = lambda f: lambda k: jnp.sum(jax.grad(lambda q: jnp.sum(f(q, k, v) ** 2))(q) ** 2)
    twice = lambda f: jax.jit(jax.grad(size(f)))(k)
    np.testing.assert_allclose(twice(ours), twice(formula), rtol=1e-3, atol=1e-4)
