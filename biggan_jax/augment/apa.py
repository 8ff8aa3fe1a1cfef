"""APA: D is shown some fake images as real ones, so that it overfits a small data set less (Jiang et al. 2021)."""

import jax
import jax.numpy as jnp

from biggan_jax.types import Array, Image, Label


def replace(
    real: Image, label: Label, fake: Image, fake_label: Label, key: jax.Array, p: jax.Array | float
) -> tuple[Image, Label]:
    """Return the real images and labels, each replaced with probability p by a fake one with its label.

    Each is the fake image of the place before, so that no loss of pairs compares an image with itself.
    """
    if fake_label.ndim < label.ndim:  # Classes against mixtures of classes.
        fake_label = jax.nn.one_hot(fake_label, label.shape[1])
    chosen = jax.random.uniform(key, (len(real),)) < p

    def either(fake: Array, real: Array) -> jax.Array:
        return jnp.where(chosen.reshape(-1, *[1] * (real.ndim - 1)), jnp.roll(fake, 1, axis=0), real)

    return either(fake, real), either(fake_label, label)
