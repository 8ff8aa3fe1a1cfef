"""Owns the losses, pure functions of logits; must not know networks, batches or gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax.types import Logit


class Loss(NamedTuple):
    """The two players' losses. `discriminator(real, fake)` returns its real and its fake term, to be added."""

    discriminator: Callable[[Logit, Logit], tuple[jax.Array, jax.Array]]
    generator: Callable[[Logit], jax.Array]


def _hinge_discriminator(real: Logit, fake: Logit) -> tuple[jax.Array, jax.Array]:
    return jnp.mean(jax.nn.relu(1 - real)), jnp.mean(jax.nn.relu(1 + fake))


def _hinge_generator(fake: Logit) -> jax.Array:
    return -jnp.mean(fake)


LOSSES = {"hinge": Loss(_hinge_discriminator, _hinge_generator)}
"""hinge: Lim & Ye 2017, as in Brock et al. 2019, sec. 3."""
