"""R3GAN: residual networks without normalization (Huang et al. 2024).

    G                                              D
    z, joined with embed(y); dense to C            conv 1x1 to C
    times a learned map of 4 x 4; blocks           stages: blocks; FIR down, conv 1x1 if the channels change
    stages: conv 1x1 if the channels change,       at 4 x 4: blocks, each channel's dot product with a learned map
            FIR up; blocks                         dense 1 or, with classes, <dense d, embed(y)>
    conv 1x1 to the image, no tanh

    block: x + f(x); f: conv 1x1 to 2C, conv 3x3 in groups, conv 1x1 to C; bias and leaky ReLU 0.2 after the first two

No other layer has a bias. Weights are from N(0, gain^2 / fan_in). The last convolution of a block is 0 at first, so that the
block is the identity. The gain of the other two is sqrt(2 / 1.04) L^(-1/4), in a network of L blocks. That of D's embedding is
1 / sqrt(d), that of other layers 1. The paper trains with loss=relativistic_pairs, R1 and R2; configs/modern has its presets.
"""

import functools
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.layers.grouped import GroupedConv3x3
from biggan_jax.layers.linear import ClassEmbedding, Conv1x1
from biggan_jax.layers.resample import smooth_downsample, smooth_upsample
from biggan_jax.models import adversarial
from biggan_jax.models.heads import rematerialised
from biggan_jax.types import Image, Label, Latent, Logit, UserError

SLOPE = 0.2
leaky = functools.partial(nn.leaky_relu, negative_slope=SLOPE)


class Stage(NamedTuple):
    """All layers of one size of feature maps. groups: of the 3x3 convolutions. dtype: of activations."""

    width: int
    groups: int
    blocks: int
    dtype: jnp.dtype = jnp.float32


def scaled(gain: float = 1.0) -> nn.initializers.Initializer:
    """Draw from N(0, gain^2 / fan_in)."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def conv_1x1(features: int, dtype: jnp.dtype, name: str) -> nn.Conv:
    """A 1x1 convolution without a bias."""
    return Conv1x1(features, use_bias=False, kernel_init=scaled(), dtype=dtype, name=name)


class Block(nn.Module):
    """x + f(x) [B, H, W, C]. gain: of the weights of f's first two convolutions; the third is 0 at first."""

    groups: int
    expansion: int
    gain: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, weights = x.shape[-1], scaled(self.gain)
        conv, hidden = functools.partial(Conv1x1, dtype=self.dtype), self.expansion * width
        h = leaky(conv(hidden, kernel_init=weights, name="conv_1")(x))
        h = leaky(GroupedConv3x3(hidden, self.groups, weights, self.dtype, name="conv_2")(h))
        return x + conv(width, use_bias=False, kernel_init=nn.initializers.zeros, name="conv_3")(h)


def blocks_of(stages: tuple[Stage, ...], i: int, expansion: int, remat: bool) -> list[nn.Module]:
    """Return the blocks of stage i of a network. Call within its __call__."""
    kind, stage = rematerialised(Block) if remat else Block, stages[i]
    gain = math.sqrt(2 / (1 + SLOPE**2)) * sum(stage.blocks for stage in stages) ** -0.25
    return [kind(stage.groups, expansion, gain, stage.dtype, name=f"block_{i}_{j}") for j in range(stage.blocks)]


class Generator(nn.Module):
    """z [B, dim_z] and a condition of size `size` to images [B, *shape]; their values are not bounded.

    stages: from the smallest size up. embed_dim: length of the embedding of classes. remat: recompute blocks.
    """

    shape: tuple[int, int, int]
    stages: tuple[Stage, ...]
    size: int = 0
    embed_dim: int = 64
    expansion: int = 2
    remat: bool = False

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None) -> Image:
        if self.size:
            z = jnp.concatenate([z, ClassEmbedding(self.size, self.embed_dim, scaled(), name="embed")(y)], axis=-1)
        height, width, channels = self.shape
        doublings, first = len(self.stages) - 1, self.stages[0].width
        x = nn.Dense(first, use_bias=False, kernel_init=scaled(), name="linear")(z)
        small = height >> doublings, width >> doublings, first
        x = self.param("basis", nn.initializers.normal(1.0), small) * x[:, None, None]
        for i, stage in enumerate(self.stages):
            x = x.astype(stage.dtype)
            if x.shape[-1] != stage.width:
                x = conv_1x1(stage.width, stage.dtype, f"conv_{i}")(x)
            x = smooth_upsample(x) if i else x
            for block in blocks_of(self.stages, i, self.expansion, self.remat):
                x = block(x)
        return conv_1x1(channels, x.dtype, "conv_out")(x).astype(jnp.float32)


class Discriminator(nn.Module):
    """Images and a condition of size `size` to logits [B].

    stages: from the largest size down. embed_dim: length of the embedding of classes; 0: the last stage's width.
    """

    stages: tuple[Stage, ...]
    size: int = 0
    embed_dim: int = 0
    expansion: int = 2
    remat: bool = False

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Logit:
        x = conv_1x1(self.stages[0].width, self.stages[0].dtype, "conv_in")(x)
        for i, stage in enumerate(self.stages):
            x = smooth_downsample(x) if i else x
            if x.shape[-1] != stage.width:
                x = conv_1x1(stage.width, x.dtype, f"conv_{i}")(x)
            x = x.astype(stage.dtype)
            for block in blocks_of(self.stages, i, self.expansion, self.remat):
                x = block(x)
        fan_in = x.shape[1] * x.shape[2]
        basis = self.param("basis", nn.initializers.normal(fan_in**-0.5), x.shape[1:])
        h = jnp.einsum("bhwc,hwc->bc", x.astype(jnp.float32), basis)
        length = (self.embed_dim or h.shape[-1]) if self.size else 1
        out = nn.Dense(length, use_bias=False, kernel_init=scaled(), name="linear")(h)
        if not self.size:
            return out[:, 0]
        return jnp.sum(out * ClassEmbedding(self.size, length, scaled(length**-0.5), name="embed")(y), axis=-1)


def stages_of(config: ml_collections.ConfigDict, network: str) -> tuple[Stage, ...]:
    """Return the stages of G ("g") or D ("d"), from the smallest size up. Raises UserError."""
    model = config.model
    own = {key: model[f"d_{key}"] if network == "d" else () for key in ("widths", "groups", "blocks")}
    names = {key: f"model.d_{key}" if entries else f"model.{key}" for key, entries in own.items()}
    widths, groups, blocks = (own[key] or model[key] for key in own)
    for key, entries in zip(own, (widths, groups, blocks), strict=True):
        if len(entries) != len(model.widths) or min(entries, default=0) < 1:
            raise UserError(
                f"{names[key]} {tuple(entries)} must have a number above 0 for each of the {len(model.widths)} stages of "
                f"model.widths {tuple(model.widths)}"
            )
    for width, number in zip(widths, groups, strict=True):
        hidden = expansion_of(config, network) * width
        if hidden % number:
            raise UserError(
                f"{names['groups']} {number} does not divide {hidden}, the channels of a 3x3 convolution of {names['widths']} {width}"
            )
    low = max(len(widths) - model.bfloat16_stages, 0)
    types = [jnp.dtype("bfloat16" if i >= low else config.dtype) for i in range(len(widths))]
    return tuple(map(Stage, widths, groups, blocks, types))


def expansion_of(config: ml_collections.ConfigDict, network: str) -> int:
    """Return the factor of channels within blocks of G ("g") or D ("d")."""
    return (config.model.d_expansion if network == "d" else 0) or config.model.expansion


def check_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """Return image_shape. Raises UserError for one that the stages cannot make."""
    shape, stages = tuple(config.model.image_shape), len(config.model.widths)
    if len(shape) != 3:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels), and these networks make images")
    multiple = 2 ** max(stages - 1, 0)
    if not stages or shape[0] % multiple or shape[1] % multiple:
        raise UserError(
            f"model.image_shape {shape}: with {stages} stages (model.widths) height and width must be multiples of {multiple}"
        )
    return shape


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError."""
    model, shape, size = config.model, check_shape(config), adversarial.condition_of(config).size
    remat = config.remat == "blocks"
    g, d = stages_of(config, "g"), stages_of(config, "d")
    G = Generator(shape, g, size, model.embed_dim, expansion_of(config, "g"), remat)
    D = Discriminator(d[::-1], size, model.d_embed_dim, expansion_of(config, "d"), remat)
    return adversarial.build(config, mesh, G, D, image_shape=shape, apart=True)
