import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.conditioning import CLASS_LOSSES, Output, as_vector, normal_nll
from biggan_jax.types import UserError

RNG = np.random.default_rng(0)
EMBEDDING, PROXY = RNG.standard_normal((6, 4)), RNG.standard_normal((6, 4))
LABELS = np.array([0, 0, 1, 1, 2, 0])
OUTPUT = Output(None, embedding=jnp.asarray(EMBEDDING), proxy=jnp.asarray(PROXY))


def directions():
    return (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (EMBEDDING, PROXY))


def test_contrastive_is_its_formula():
    e, p = directions()
    terms = []
    for i in range(6):
        to_proxy = np.exp(e[i] @ p[i] / 0.5)
        pairs = {k: np.exp(e[i] @ e[k] / 0.5) for k in range(6) if k != i}
        same = sum(value for k, value in pairs.items() if LABELS[k] == LABELS[i])
        terms.append(-np.log((to_proxy + same) / (to_proxy + sum(pairs.values()))))
    ours = CLASS_LOSSES["contrastive"](OUTPUT, jnp.asarray(LABELS), temperature=0.5, margin=0.98)
    assert float(ours) == pytest.approx(np.mean(terms), rel=1e-5)


def test_data_to_data_cross_entropy_is_its_formula():
    e, p = directions()
    terms = []
    for i in range(6):
        pairs = {k: (e[i] @ e[k] + 0.98 - 1) / 0.5 for k in range(6) if k != i}
        largest, away = max(pairs.values()), max(0, (0.98 - e[i] @ p[i]) / 0.5)
        others = sum(np.exp(max(0, value) - largest) for k, value in pairs.items() if LABELS[k] != LABELS[i])
        terms.append(away + np.log(np.exp(-away) + others))
    ours = CLASS_LOSSES["d2dce"](OUTPUT, jnp.asarray(LABELS), temperature=0.5, margin=0.98)
    assert float(ours) == pytest.approx(np.mean(terms), rel=1e-5)


def test_normal_likelihood_is_that_of_independent_codes():
    x, mean = EMBEDDING, PROXY
    variance = np.exp(RNG.standard_normal(x.shape))
    density = np.exp(-np.square(x - mean) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    assert float(normal_nll(x, mean, variance)) == pytest.approx(-np.log(density.prod(1)).mean(), rel=1e-5)


def test_two_perfectly_placed_classes_have_no_gradient():
    y = jnp.array([0, 1, 0, 1])
    placed = jnp.where(y[:, None] == 0, jnp.array([1.0, 0.0]), jnp.array([-1.0, 0.0]))
    loss = lambda e: CLASS_LOSSES["d2dce"](Output(None, embedding=e, proxy=placed), y, temperature=1.0, margin=0.98)
    assert np.abs(jax.jit(jax.grad(loss))(placed)).max() < 1e-6


def test_cross_entropy_takes_labels_and_mixtures():
    logits, y = jnp.asarray(RNG.standard_normal((6, 3))), jnp.asarray(LABELS)
    loss = lambda y: float(CLASS_LOSSES["ac"](Output(None, classes=logits), y, temperature=1.0, margin=0.98))
    log = np.asarray(logits) - np.log(np.exp(logits).sum(1, keepdims=True))
    assert loss(y) == pytest.approx(-np.mean(log[np.arange(6), LABELS]), rel=1e-5)
    assert loss(jax.nn.one_hot(y, 3)) == pytest.approx(loss(y), rel=1e-6)
    assert loss(jnp.full((6, 3), 1 / 3)) == pytest.approx(-log.mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["contrastive", "d2dce"])
def test_losses_of_embeddings_refuse_mixtures(name):
    with pytest.raises(UserError, match="need classes"):
        CLASS_LOSSES[name](OUTPUT, jnp.ones((6, 3)), temperature=1.0, margin=0.98)


def test_conditions_become_rows():
    np.testing.assert_array_equal(as_vector(jnp.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(as_vector(jnp.array([[0.5, 9.0]]), 2), [[0.5, 9.0]])
