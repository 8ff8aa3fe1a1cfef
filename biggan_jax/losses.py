"""Adversarial losses: pure functions of logits."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax.types import Logit


class Loss(NamedTuple):
    """The losses of D and G.

    Attributes:
        discriminator: (real, fake) to D's real and fake terms, whose sum is D's loss.
        generator: (fake) to G's loss or, if `relative`, (real, fake) to it.
        relative: whether G's loss compares fake images with real ones.
    """

    discriminator: Callable[[Logit, Logit], tuple[jax.Array, jax.Array]]
    generator: Callable[..., jax.Array]
    relative: bool = False


def _hinge_discriminator(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    return jnp.mean(jax.nn.relu(1 - real)), jnp.mean(jax.nn.relu(1 + fake))


def _hinge_generator(fake: Logit) -> jax.Array:
    return -jnp.mean(fake)


def _non_saturating_discriminator(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    return jnp.mean(jax.nn.softplus(-real)), jnp.mean(jax.nn.softplus(fake))


def _non_saturating_generator(fake: Logit) -> jax.Array:
    return jnp.mean(jax.nn.softplus(-fake))


def _wasserstein_discriminator(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    return -jnp.mean(real), jnp.mean(fake)


def _least_squares_discriminator(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    return jnp.mean(jnp.square(real - 1)) / 2, jnp.mean(jnp.square(fake)) / 2


def _least_squares_generator(fake: Logit) -> jax.Array:
    return jnp.mean(jnp.square(fake - 1)) / 2


def accuracy(real: Logit, fake: Logit) -> jax.Array:
    """Return the share of images that D classifies correctly at threshold 0: the mean of real and fake."""
    return (jnp.mean(real > 0) + jnp.mean(fake < 0)) / 2


def hinge_active(real: Logit, fake: Logit) -> jax.Array:
    """Return the share of images with a nonzero gradient in D's hinge loss: the mean of real and fake.

    >>> real, fake = jnp.array([0.5, 3.0]), jnp.array([-0.5, 0.2])  # The second real image is beyond the margin.
    >>> float(hinge_active(real, fake))
    0.75
    """
    return (jnp.mean(real < 1) + jnp.mean(fake > -1)) / 2


LOSSES = {
    "hinge": Loss(_hinge_discriminator, _hinge_generator),
    "non_saturating": Loss(_non_saturating_discriminator, _non_saturating_generator),
    "wasserstein": Loss(_wasserstein_discriminator, _hinge_generator),
    "least_squares": Loss(_least_squares_discriminator, _least_squares_generator),
}
"""hinge: Lim & Ye 2017, BigGAN's. non_saturating: Goodfellow et al. 2014. wasserstein: Arjovsky et al. 2017; spectral
norm or a penalty bounds D's Lipschitz constant. least_squares: Mao et al. 2017, targets 0 and 1."""
