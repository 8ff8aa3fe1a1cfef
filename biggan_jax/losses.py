"""Adversarial losses: pure functions of D's outputs. r are logits of real images, f of fake ones; all are means."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax.types import Label, Logit, UserError

softplus, relu, mean = jax.nn.softplus, jax.nn.relu, jnp.mean


class Loss(NamedTuple):
    """The losses of D and G.

    Attributes:
        discriminator: (real, fake) to D's real and fake terms, whose sum is D's loss.
        generator: (fake) to G's loss or, if `relative`, (real, fake) to it.
        relative: whether G's loss compares fake images with real ones.
        of_classes: whether it is a loss of classes: its arguments are pairs (logits of classes and of fake [B, classes + 1],
            label), as a D with the head multi_hinge gives them.
        scaled: whether logits have a scale, which the loss fixes by a margin or a target; a Wasserstein critic's have that of its
            bound.
    """

    discriminator: Callable[..., tuple[jax.Array, jax.Array]]
    generator: Callable[..., jax.Array]
    relative: bool = False
    of_classes: bool = False
    scaled: bool = True


def minimax(fake: Logit) -> jax.Array:
    """G's saturating loss: the mean of -softplus(f) (Goodfellow et al. 2014, eq. 1)."""
    return -mean(softplus(fake))


def relativistic_average(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    """Softplus(mean f - r) and softplus(f - mean r) (Jolicoeur-Martineau 2018). G's loss exchanges the two."""
    return mean(softplus(mean(fake) - real)), mean(softplus(fake - mean(real)))


def relativistic_pairs(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    """Mean softplus(f - r) over pairs of a real and a fake image (Jolicoeur-Martineau 2018; Huang et al. 2024, RpGAN).

    The second part of the loss is 0.
    """
    return mean(softplus(fake - real)), jnp.float32(0)


def multi_hinge(output: tuple[jax.Array, Label]) -> jax.Array:
    """Relu(1 + the highest other logit - that of the label), with labels in [0, classes] (Crammer & Singer 2001)."""
    logits, label = output
    if label.ndim > 1:
        raise UserError("loss=multi_hinge needs classes, not mixtures of them")
    right = jax.nn.one_hot(label, logits.shape[-1], dtype=bool)
    wanted = jnp.sum(jnp.where(right, logits, 0), -1)
    return mean(relu(1 + jnp.max(jnp.where(right, -jnp.inf, logits), -1) - wanted))


def _multi_hinge_discriminator(real, fake) -> tuple[jax.Array, jax.Array]:
    logits, label = fake
    return multi_hinge(real), multi_hinge((logits, jnp.full_like(label, logits.shape[-1] - 1)))


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
    "hinge": Loss(lambda r, f: (mean(relu(1 - r)), mean(relu(1 + f))), lambda f: -mean(f)),
    "non_saturating": Loss(lambda r, f: (mean(softplus(-r)), mean(softplus(f))), lambda f: mean(softplus(-f))),
    "minimax": Loss(lambda r, f: (mean(softplus(-r)), mean(softplus(f))), minimax),
    "wasserstein": Loss(lambda r, f: (-mean(r), mean(f)), lambda f: -mean(f), scaled=False),
    "least_squares": Loss(
        lambda r, f: (mean(jnp.square(r - 1)) / 2, mean(jnp.square(f)) / 2), lambda f: mean(jnp.square(f - 1)) / 2
    ),
    "relativistic_average": Loss(
        relativistic_average, lambda r, f: sum(relativistic_average(f, r), jnp.float32(0)), relative=True
    ),
    "relativistic_pairs": Loss(relativistic_pairs, lambda r, f: relativistic_pairs(f, r)[0], relative=True),
    "multi_hinge": Loss(_multi_hinge_discriminator, multi_hinge, of_classes=True),
}
"""hinge: Lim & Ye 2017, BigGAN's. non_saturating: Goodfellow et al. 2014. wasserstein: Arjovsky et al. 2017; spectral
norm or a penalty bounds D's Lipschitz constant. least_squares: Mao et al. 2017, targets 0 and 1. multi_hinge: Kavalerov et
al. 2021. Others: see their functions."""
