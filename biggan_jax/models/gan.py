"""The first GAN: two networks of dense layers on MNIST (Goodfellow et al. 2014; their published code's mnist.yaml).

    G                                   D
    z ~ U(-sqrt 3, sqrt 3)^100          x in [0, 1], dropout of 0.2
    dense 1200, ReLU                    dense 240 x 5, maxout; dropout of 0.5
    dense 1200, ReLU                    dense 240 x 5, maxout; dropout of 0.5
    dense 784, sigmoid                  dense 1

Weights are uniform within 0.05 in G and 0.005 in D. Difference: G's last bias starts at 0, theirs at the logits of the
pixels' means.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.models import adversarial
from biggan_jax.types import Array, Image, Label, Latent, Logit


def symmetric(bound: float) -> nn.initializers.Initializer:
    """Draw uniformly from [-bound, bound]."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class Maxout(nn.Module):
    """The largest of `pieces` dense layers, unit by unit: [B, in] to [B, units] (Goodfellow et al. 2013)."""

    units: int
    pieces: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Array) -> jax.Array:
        h = nn.Dense(self.units * self.pieces, kernel_init=self.kernel_init, name="dense")(x)
        return h.reshape(len(x), self.units, self.pieces).max(-1)


class Generator(nn.Module):
    """z [B, dim_z] to images in [-1, 1]; vectors are not squashed."""

    shape: tuple[int, ...]
    hidden: int = 1200

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None) -> Image:
        dense = lambda features, name: nn.Dense(features, kernel_init=symmetric(0.05), name=name)
        h = nn.relu(dense(self.hidden, "dense_1")(z))
        h = nn.relu(dense(self.hidden, "dense_2")(h))
        return to_data(dense(math.prod(self.shape), "dense_out")(h), self.shape)


class Discriminator(nn.Module):
    """Images to logits [B]."""

    units: int = 240
    pieces: int = 5

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Logit:
        maxout = lambda name: Maxout(self.units, self.pieces, symmetric(0.005), name=name)
        drop = lambda rate: nn.Dropout(rate, deterministic=not train)
        h = maxout("maxout_1")(drop(0.2)(from_data(x)))
        h = maxout("maxout_2")(drop(0.5)(h))
        return nn.Dense(1, kernel_init=symmetric(0.005), name="linear")(drop(0.5)(h))[:, 0]


def to_data(h: jax.Array, shape: tuple[int, ...]) -> Image:
    """Reshape the last layer's outputs; those of images pass a sigmoid, which is scaled to [-1, 1]."""
    return (2 * nn.sigmoid(h) - 1).reshape(-1, *shape) if len(shape) == 3 else h


def from_data(x: Image) -> Array:
    """Flatten; images are scaled to [0, 1]."""
    return ((x + 1) / 2).reshape(len(x), -1) if x.ndim == 4 else x


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`."""
    model, shape = config.model, tuple(config.model.image_shape)
    generator, discriminator = Generator(shape, model.hidden), Discriminator(model.units, model.pieces)
    return adversarial.build(config, mesh, generator, discriminator, image_shape=shape)
