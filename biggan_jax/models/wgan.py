"""Wasserstein GAN: a critic with clipped weights, trained more often than G (Arjovsky et al. 2017).

Networks: those of DCGAN at 64 pixels, or dense ones: three hidden layers of 512, ReLU, and G's output is not squashed. The
critic takes 5 steps for each of G, but 100 in the first 25 of G's steps and in each 500th, as in the authors' code. A step
here is always d_steps = 5 of the critic; G is not updated in 19 of 20 of them while the critic takes 100.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.family import Update
from biggan_jax.gan import GAN
from biggan_jax.models import adversarial, dcgan
from biggan_jax.types import Image, Label, Latent, Logit, UserError

LONG, FIRST, EACH = 20, 25, 500
"""Steps per step of G while the critic takes 100; G's first steps of that kind; and each of G's steps that is one."""


class Generator(nn.Module):
    """z [B, dim_z] to images or vectors by dense layers."""

    shape: tuple[int, ...]
    hidden: int = 512

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None) -> Image:
        for i in range(3):
            z = nn.relu(nn.Dense(self.hidden, name=f"dense_{i}")(z))
        return nn.Dense(math.prod(self.shape), name="dense_out")(z).reshape(-1, *self.shape)


class Critic(nn.Module):
    """Images or vectors to scores [B] by dense layers."""

    hidden: int = 512

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Logit:
        x = x.reshape(len(x), -1)
        for i in range(3):
            x = nn.relu(nn.Dense(self.hidden, name=f"dense_{i}")(x))
        return nn.Dense(1, name="linear")(x)[:, 0]


def g_runs(step: jax.Array) -> jax.Array:
    """Whether G is updated in the step that starts at `step`.

    A cycle of 519 steps has EACH steps of G, of which the first takes LONG. Training begins with FIRST steps that take LONG,
    and continues as if it were in a cycle.
    """
    place = (step - FIRST * LONG + FIRST + LONG - 1) % (EACH + LONG - 1)
    return jnp.where(step < FIRST * LONG, step % LONG == LONG - 1, place >= LONG - 1)


class WGAN(GAN):
    """A GAN whose critic is updated more often than G."""

    def updates(self) -> tuple[Update, ...]:
        """Return the critic's updates, and G's for the steps in which it runs."""
        *of_d, G = super().updates()
        return *of_d, dataclasses.replace(G, when=g_runs)


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError for a shape that its networks cannot take."""
    model, shape = config.model, tuple(config.model.image_shape)
    if config.loss != "wasserstein" or not config.regularizer.clip:
        raise UserError(
            f"model.family wgan needs loss=wasserstein and regularizer.clip above 0, not {config.loss} and "
            f"{config.regularizer.clip:g}; see --config=classic/wgan64"
        )
    if model.network == "mlp":
        generator, critic = Generator(shape, model.hidden), Critic(model.hidden)
    else:
        generator, critic = dcgan.torch_form(config)
    family = WGAN if model.warm_up else GAN
    return adversarial.build(config, mesh, generator, critic, image_shape=shape, family=family)
