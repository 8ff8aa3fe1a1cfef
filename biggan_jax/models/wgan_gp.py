"""WGAN-GP: a penalty on gradients in place of clipping, and no norm of batches in D (Gulrajani et al. 2017; their code).

    form    G                                                 D
    cifar   ResNet of 128 channels, batch norm                ResNet of 128, no norm, mean, dense 1 (and 10: AC-GAN)
    good    ResNet of 512 to 64 channels, batch norm          ResNet of 64 to 512, layer norm, dense 1
    toy     dense 512, ReLU, three times                      the same

A class has gains and offsets of its own in each batch norm of G's blocks. Weights are uniform: of 3x3 convolutions and the
toy's hidden layers with a deviation of sqrt(4 / (fan_in + fan_out)), others, cifar's last and good's first convolution by
Glorot's rule. Difference: the authors' code samples with the statistics of batches of 100 images.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.conditioning import as_vector
from biggan_jax.gan import GAN
from biggan_jax.layers.initializers import redraw_each
from biggan_jax.layers.linear import Conv1x1, Conv3x3, Dense
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.layers.resample import average_pool, upsample
from biggan_jax.models import adversarial, wgan
from biggan_jax.models.biggan import DiscriminatorBlock, GeneratorBlock
from biggan_jax.models.dcgan import square
from biggan_jax.models.heads import Head, apply_head
from biggan_jax.types import Image, Label, Latent, UserError

WideConv3x3 = functools.partial(Conv3x3, use_bias=False)


class CifarGenerator(nn.Module):
    """z [B, dim_z] to images of 32 pixels."""

    channels: int = 3
    ch: int = 128
    size: int = 0
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        c = as_vector(y, self.size) if self.size else None
        x = Dense(16 * self.ch, name="linear")(z).reshape(-1, 4, 4, self.ch)
        for i in range(3):
            x = GeneratorBlock(self.ch, 1e-5, self.bn_momentum, jnp.float32, name=f"block_{i}")(x, c, train)
        return jnp.tanh(
            Conv3x3(self.channels, name="conv_out")(
                nn.relu(BatchNorm(1e-5, self.bn_momentum, name="bn_out")(x, train=train))
            )
        )


class CifarDiscriminator(nn.Module):
    """Images of 32 pixels to a logit [B] or an Output."""

    ch: int = 128
    head: Head = Head("none")

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Any:
        x = jnp.asarray(x)
        for i in range(4):
            x = DiscriminatorBlock(self.ch, self.ch, i < 2, i == 0, jnp.float32, name=f"block_{i}")(x)
        return apply_head(nn.relu(x).mean((1, 2)), y, self.head)


class GoodGenerator(nn.Module):
    """z [B, dim_z] to images of 64 pixels; the first convolution of a block has no bias."""

    channels: int = 3
    ch: int = 64
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        norm = lambda name, x: nn.relu(BatchNorm(1e-5, self.bn_momentum, name=name)(x, train=train))
        x = Dense(16 * 8 * self.ch, name="linear")(z).reshape(-1, 4, 4, 8 * self.ch)
        for i, width in enumerate((8, 4, 2, 1)):
            h = WideConv3x3(width * self.ch, name=f"conv_{i}_1")(upsample(norm(f"bn_{i}_1", x)))
            h = Conv3x3(width * self.ch, name=f"conv_{i}_2")(norm(f"bn_{i}_2", h))
            x = h + upsample(Conv1x1(width * self.ch, name=f"conv_{i}_skip")(x))
        return jnp.tanh(Conv3x3(self.channels, name="conv_out")(norm("bn_out", x)))


class GoodDiscriminator(nn.Module):
    """Images of 64 pixels to logits [B]. Layer norm is over all of an image, with a gain and an offset per channel."""

    ch: int = 64

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> jax.Array:
        norm = lambda name, x: nn.relu(nn.LayerNorm(1e-5, reduction_axes=(1, 2, 3), feature_axes=-1, name=name)(x))
        x = Conv3x3(self.ch, name="conv_in")(x)
        for i, width in enumerate((2, 4, 8, 8)):
            h = WideConv3x3(x.shape[-1], name=f"conv_{i}_1")(norm(f"ln_{i}_1", x))
            h = average_pool(Conv3x3(width * self.ch, name=f"conv_{i}_2")(norm(f"ln_{i}_2", h)))
            x = h + Conv1x1(width * self.ch, name=f"conv_{i}_skip")(average_pool(x))
        return Dense(1, name="linear")(x.reshape(len(x), -1))[:, 0]


def uniform(params, key: jax.Array, glorot: str = "conv_out"):
    """Draw all weights uniformly: see the top of this file. glorot: the 3x3 convolution that counts as other weights."""
    he = nn.initializers.variance_scaling(2, "fan_avg", "uniform")
    other = nn.initializers.variance_scaling(1, "fan_avg", "uniform")

    def draw(path, weight, key):
        if path[-1] == "embedding":
            return weight
        if path[-2] in ("gain", "offset"):
            return jnp.zeros_like(weight)
        three = weight.ndim == 4 and weight.shape[:2] == (3, 3) and path[-2] != glorot
        hidden = weight.ndim == 2 and path[-2].startswith("dense_") and path[-2] != "dense_out"
        return (he if three or hidden else other)(key, weight.shape)

    return redraw_each(params, key, draw)


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError for a shape or a condition that the form cannot take."""
    model, shape = config.model, tuple(config.model.image_shape)
    size, head = adversarial.condition_of(config).size, adversarial.head_of(config)
    if model.form != "cifar" and size:
        raise UserError(f"model.form={model.form} has no condition: use cifar, or model.num_classes=0")
    if model.form == "toy":
        networks = wgan.Generator(shape, model.ch), wgan.Critic(model.ch)
        return adversarial.build(config, mesh, *networks, image_shape=shape, redraw=uniform)
    (resolution, channels), wanted = square(config), {"cifar": 32, "good": 64}[model.form]
    if resolution != wanted:
        raise UserError(f"model.form={model.form} makes images of {wanted} pixels, not of {resolution}")
    if model.form == "cifar":
        head = head._replace(class_bias=True)
        networks = CifarGenerator(channels, model.ch, size), CifarDiscriminator(model.ch, head)
    else:
        head, networks = None, (GoodGenerator(channels, model.ch), GoodDiscriminator(model.ch))
    redraw = uniform if model.form == "cifar" else functools.partial(uniform, glorot="conv_in")
    return adversarial.build(config, mesh, *networks, image_shape=shape, head=head, redraw=redraw)
