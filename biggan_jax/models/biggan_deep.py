"""BigGAN-deep's generator and discriminator (Brock et al. 2019, App. B, Tables 7-9)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.layers.attention import Attend, SelfAttention, attend
from biggan_jax.layers.linear import ClassEmbedding, Conv1x1, Conv3x3, Dense
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.layers.resample import UpConv3x3, average_pool, upsample
from biggan_jax.models import modules
from biggan_jax.models.heads import Head, projection, rematerialised, to_image
from biggan_jax.models.tables import check_widths, smallest_size, widths_of
from biggan_jax.types import Image, Label, Latent, UserError


class GeneratorBlock(nn.Module):
    """Bottleneck block: [B, H, W, C] to [B, H, W, features], at twice the height and width if `up`.

    The skip connection has no weights: it drops the channels beyond `features`.
    """

    features: int
    up: bool
    bn_eps: float
    bn_momentum: float
    dtype: jnp.dtype
    bn_group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, c: jax.Array | None, train: bool) -> jax.Array:
        hidden = x.shape[-1] // 4
        norm = lambda name: BatchNorm(self.bn_eps, self.bn_momentum, self.dtype, group=self.bn_group, name=name)
        active = lambda h, name: nn.relu(norm(name)(h, c, train=train))
        second, resize = (UpConv3x3, upsample) if self.up else (Conv3x3, lambda h: h)
        h = Conv1x1(hidden, dtype=self.dtype, name="conv_1")(active(x, "bn_1"))
        h = second(hidden, dtype=self.dtype, name="conv_2")(active(h, "bn_2"))
        h = Conv3x3(hidden, dtype=self.dtype, name="conv_3")(active(h, "bn_3"))
        h = Conv1x1(self.features, dtype=self.dtype, name="conv_4")(active(h, "bn_4"))
        return h + resize(x[..., : self.features])


class Generator(nn.Module):
    """G(z, y): latents and labels to images in [-1, 1].

    The condition of the first layer and of every batch norm is the class embedding concatenated with all of z.

    Attributes: those of `biggan.Generator`, and depth: blocks per stage, of which the last doubles the resolution.
    """

    resolution: int
    num_classes: int
    ch: int = 128
    dim_z: int = 128
    shared_dim: int = 128
    depth: int = 2
    attention: tuple[int, ...] = (64,)
    pad_rgb: bool = False
    bn_eps: float = 1e-4
    bn_out_eps: float = 0.0
    bn_momentum: float = 0.9
    bn_group: int = 0
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    attend: Attend = attend
    widths: str = "paper"

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        block = rematerialised(GeneratorBlock, static=(3,)) if self.remat else GeneratorBlock
        first, *widths = widths_of(self.resolution, self.widths, deep=True).generator
        c = z.astype(jnp.float32)
        if self.num_classes:
            c = jnp.concatenate([ClassEmbedding(self.num_classes, self.shared_dim, name="shared")(y), c], axis=-1)

        x = Dense(4 * 4 * first * self.ch, dtype=self.dtype, name="linear")(c)
        x = x.reshape(-1, 4, 4, first * self.ch)
        for stage, width in enumerate(widths):
            for j in range(self.depth):
                up = j == self.depth - 1
                features = width * self.ch if up else x.shape[-1]
                name = f"block_{stage}_{j}"
                settings = self.bn_eps, self.bn_momentum, self.dtype, self.bn_group
                x = block(features, up, *settings, name=name)(x, c, train)
            if x.shape[1] in self.attention:
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{stage}")(x)
        norm = {"bn_eps": self.bn_out_eps or self.bn_eps, "bn_momentum": self.bn_momentum}
        return to_image(x, pad_rgb=self.pad_rgb, dtype=self.dtype, train=train, bn_group=self.bn_group, **norm)


class DiscriminatorBlock(nn.Module):
    """Bottleneck block: [B, H, W, C] to [B, H', W', features], H' = H/2 if `down`.

    If `features` exceeds C, the skip connection concatenates the outputs of a 1x1 convolution to its own channels. With
    `skip_relu` it starts from the ReLU, as in StudioGAN.
    """

    features: int
    down: bool
    dtype: jnp.dtype
    skip_relu: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = self.features // 4
        resize = average_pool if self.down else lambda h: h
        h = nn.relu(x)
        x = h if self.skip_relu else x
        h = Conv1x1(hidden, dtype=self.dtype, name="conv_1")(h)
        h = Conv3x3(hidden, dtype=self.dtype, name="conv_2")(nn.relu(h))
        h = Conv3x3(hidden, dtype=self.dtype, name="conv_3")(nn.relu(h))
        h = Conv1x1(self.features, dtype=self.dtype, name="conv_4")(resize(nn.relu(h)))
        x = resize(x)
        if self.features > x.shape[-1]:
            extra = Conv1x1(self.features - x.shape[-1], dtype=self.dtype, name="conv_skip")(x)
            x = jnp.concatenate([x, extra], axis=-1)
        return h + x


class Discriminator(nn.Module):
    """D(x, y): images in [-1, 1] and labels to logits, by projection. `num_classes` 0 is unconditional."""

    resolution: int
    num_classes: int
    ch: int = 128
    depth: int = 2
    attention: tuple[int, ...] = (64,)
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    attend: Attend = attend
    head: Head = Head()
    skip_relu: bool = False
    widths: str = "paper"

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Any:
        block = rematerialised(DiscriminatorBlock) if self.remat else DiscriminatorBlock
        stem, *widths = widths_of(self.resolution, self.widths, deep=True).discriminator
        x = Conv3x3(stem * self.ch, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        for stage, width in enumerate(widths):
            shrink = x.shape[1] > smallest_size(self.resolution)
            for j in range(self.depth):
                down = shrink and j == 0
                x = block(width * self.ch, down, self.dtype, self.skip_relu, name=f"block_{stage}_{j}")(x)
            if x.shape[1] in self.attention and (shrink or self.widths == "paper"):
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{stage}")(x)
        return projection(x, y, head=self.head._replace(size=self.num_classes))


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError if its options cannot be combined."""
    model = config.model
    if not (model.shared_embedding and model.d_wide):
        raise UserError("model.shared_embedding and model.d_wide can be False only with model.family=biggan")
    check_widths(model, least=4)
    return modules.build(config, mesh, Generator, Discriminator)
