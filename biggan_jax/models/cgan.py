"""The conditional GAN: labels as a second input of dense networks on MNIST (Mirza & Osindero 2014).

    G                                              D
    z ~ U(0, 1)^100: dense 200, ReLU               x: dense 240 x 5, maxout
    y, one-hot: dense 1000, ReLU                   y, one-hot: dense 50 x 5, maxout
    both: dense 1200, ReLU                         both: dense 240 x 4, maxout
    dense 784, sigmoid                             dense 1

Dropout of 0.5 follows each hidden layer in both networks; G samples without it. What G draws in training then comes from the
dropout more than from z, and samples of a class are nearly one image: model.g_dropout=0 gives the variety to z. The paper
states no initial weights: they are those of the first GAN. y may also be a mixture of classes, or real numbers.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.conditioning import as_vector
from biggan_jax.gan import GAN
from biggan_jax.models import adversarial
from biggan_jax.models.gan import Maxout, from_data, symmetric, to_data
from biggan_jax.types import Image, Label, Latent, Logit, UserError


class Generator(nn.Module):
    """z [B, dim_z] and a condition of size `size` to images in [-1, 1]."""

    shape: tuple[int, ...]
    size: int
    hidden: int = 1200
    dropout: float = 0.5

    @nn.compact
    def __call__(self, z: Latent, y: Label, *, train: bool = False) -> Image:
        drop = nn.Dropout(self.dropout, deterministic=not train)
        dense = lambda features, name: nn.Dense(features, kernel_init=symmetric(0.05), name=name)
        of_z = drop(nn.relu(dense(self.hidden // 6, "dense_z")(z)))
        of_y = drop(nn.relu(dense(self.hidden - self.hidden // 6, "dense_y")(as_vector(y, self.size))))
        h = drop(nn.relu(dense(self.hidden, "dense_both")(jnp.concatenate([of_z, of_y], axis=-1))))
        return to_data(dense(math.prod(self.shape), "dense_out")(h), self.shape)


class Discriminator(nn.Module):
    """Images and their condition to logits [B]."""

    size: int
    units: int = 240
    label_units: int = 50
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Image, y: Label, *, train: bool = False) -> Logit:
        drop = nn.Dropout(self.dropout, deterministic=not train)
        maxout = lambda units, pieces, name: Maxout(units, pieces, symmetric(0.005), name=name)
        of_x = drop(maxout(self.units, 5, "maxout_x")(from_data(x)))
        of_y = drop(maxout(self.label_units, 5, "maxout_y")(as_vector(y, self.size)))
        h = drop(maxout(self.units, 4, "maxout_both")(jnp.concatenate([of_x, of_y], axis=-1)))
        return nn.Dense(1, kernel_init=symmetric(0.005), name="linear")(h)[:, 0]


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError if the config has no condition."""
    model, shape = config.model, tuple(config.model.image_shape)
    size = adversarial.condition_of(config).size
    if not size:
        raise UserError("model.family cgan is conditional: set model.num_classes or model.condition_dim, or use gan")
    generator = Generator(shape, size, model.hidden, model.g_dropout)
    discriminator = Discriminator(size, model.units, dropout=model.d_dropout)
    return adversarial.build(config, mesh, generator, discriminator, image_shape=shape)
