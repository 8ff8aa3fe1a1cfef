import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.losses import LOSSES

REAL, FAKE = jnp.array([2.0, 0.5, -1.0]), jnp.array([-2.0, 0.0, 3.0])
softplus = lambda x: np.log1p(np.exp(np.asarray(x, np.float64)))


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        ("hinge", (0 + 0.5 + 2) / 3, (0 + 1 + 4) / 3, -1 / 3),
        ("non_saturating", softplus(-REAL).mean(), softplus(FAKE).mean(), softplus(-FAKE).mean()),
        ("wasserstein", -0.5, 1 / 3, -1 / 3),
        ("least_squares", (1 + 0.25 + 4) / 6, (4 + 0 + 9) / 6, (9 + 1 + 4) / 6),
        ("minimax", softplus(-REAL).mean(), softplus(FAKE).mean(), -softplus(FAKE).mean()),
    ],
)
def test_each_loss_is_its_formula(name, real, fake, generator):
    loss = LOSSES[name]
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), (real, fake), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(FAKE), generator, rtol=1e-6)


def test_relativistic_losses_compare_with_the_other_side():
    real, fake = np.asarray(REAL, np.float64), np.asarray(FAKE, np.float64)
    average, pairs = LOSSES["relativistic_average"], LOSSES["relativistic_pairs"]
    terms = softplus(fake.mean() - real).mean(), softplus(fake - real.mean()).mean()
    np.testing.assert_allclose(average.discriminator(REAL, FAKE), terms, rtol=1e-6)
    terms = softplus(real.mean() - fake).mean(), softplus(real - fake.mean()).mean()
    np.testing.assert_allclose(average.generator(REAL, FAKE), sum(terms), rtol=1e-6)
    np.testing.assert_allclose(pairs.discriminator(REAL, FAKE), (softplus(fake - real).mean(), 0), rtol=1e-6)
    np.testing.assert_allclose(pairs.generator(REAL, FAKE), softplus(real - fake).mean(), rtol=1e-6)


def test_multi_hinge_wants_the_label_one_above_the_rest():
    logits, label = jnp.array([[2.0, 0.5, 0.0], [0.0, 0.0, 3.0]]), jnp.array([0, 1])
    real, fake = LOSSES["multi_hinge"].discriminator((logits, label), (logits, label))
    # Real: max(0, 1 + 0.5 - 2) and 1 + 3 - 0. Fake images belong to the last class: 1 + 2 - 0 and max(0, 1 + 0 - 3).
    assert (float(real), float(fake)) == (2.0, 1.5)
    assert float(LOSSES["multi_hinge"].generator((logits, label))) == 2.0


LOGITS = [name for name, loss in LOSSES.items() if not (loss.relative or loss.of_classes)]


@pytest.mark.parametrize("name", LOGITS)
def test_gradients_separate_logits_for_d_and_raise_them_for_g(name):
    loss = LOSSES[name]
    real, fake = jnp.zeros(3), jnp.zeros(3)
    d_real, d_fake = jax.grad(lambda r, f: sum(loss.discriminator(r, f)), argnums=(0, 1))(real, fake)
    assert (d_real < 0).all()
    assert (d_fake >= 0).all() and (name == "least_squares" or (d_fake > 0).all())
    assert (jax.grad(loss.generator)(fake) < 0).all()
