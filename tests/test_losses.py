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
    ],
)
def test_each_loss_is_its_formula(name, real, fake, generator):
    loss = LOSSES[name]
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), (real, fake), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(FAKE), generator, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_separate_logits_for_d_and_raise_them_for_g(name):
    loss = LOSSES[name]
    real, fake = jnp.zeros(3), jnp.zeros(3)
    d_real, d_fake = jax.grad(lambda r, f: sum(loss.discriminator(r, f)), argnums=(0, 1))(real, fake)
    assert (d_real < 0).all()
    assert (d_fake >= 0).all() and (name == "least_squares" or (d_fake > 0).all())
    assert (jax.grad(loss.generator)(fake) < 0).all()
