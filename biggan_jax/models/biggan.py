"""BigGAN's generator and discriminator (Brock et al. 2019, App. B, Tables 4-6).

This family includes SA-GAN, with class embeddings per layer and without skip-z, and SN-GAN, which also has a thin D and
no attention.
"""

from collections.abc import Callable
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
from biggan_jax.layers.resample import Conv3x3Pool, UpConv3x3, average_pool, upsample
from biggan_jax.models import modules
from biggan_jax.models.heads import Head, projection, rematerialised, to_image
from biggan_jax.models.tables import check_widths, smallest_size, widths_of
from biggan_jax.types import Image, Label, Latent, UserError


class GeneratorBlock(nn.Module):
    """Residual block that doubles the resolution: [B, H, W, C], condition [B, D] to [B, 2H, 2W, features].

    With `num_classes` the condition c is labels [B], and each batch norm has its own tables of classes.
    """

    features: int
    bn_eps: float
    bn_momentum: float
    dtype: jnp.dtype
    num_classes: int = 0
    bn_group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, c: jax.Array | None, train: bool) -> jax.Array:
        settings = self.bn_eps, self.bn_momentum, self.dtype, self.num_classes
        norm = lambda name: BatchNorm(*settings, group=self.bn_group, name=name)
        h = nn.relu(norm("bn_1")(x, c, train=train))
        h = UpConv3x3(self.features, dtype=self.dtype, name="conv_1")(h)
        h = nn.relu(norm("bn_2")(h, c, train=train))
        h = Conv3x3(self.features, dtype=self.dtype, name="conv_2")(h)
        # A 1x1 convolution and nearest-neighbour upsampling commute exactly; this order is a quarter of the work.
        return h + upsample(Conv1x1(self.features, dtype=self.dtype, name="conv_skip")(x))


class Generator(nn.Module):
    """G(z, y): latents and labels to images in [-1, 1].

    Attributes:
        num_classes: 0 is unconditional: y is ignored, and batch norm is conditioned on its chunk of z alone, or plain.
        shared_embedding: one class embedding for all batch norms; otherwise each has tables of gains and offsets.
        skip_z: split z into equal chunks, one for the first layer and one for each block's batch norms; otherwise the
            first layer takes all of z.
        attention: resolutions of feature maps; attention follows the blocks that make them.
        pad_rgb: see `heads.to_image`.
        bn_out_eps: eps of the last batch norm; 0 for `bn_eps`.
        bn_group: images that batch norm normalises together in training; 0 for the whole batch.
        remat: recompute the activations of blocks in the backward pass.
        widths: the table of channels, paper or studiogan; see models.tables.
    """

    resolution: int
    num_classes: int
    ch: int = 96
    dim_z: int = 120
    shared_dim: int = 128
    shared_embedding: bool = True
    skip_z: bool = True
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
        first, *widths = widths_of(self.resolution, self.widths).generator
        z = z.astype(jnp.float32)
        z, *chunks = jnp.split(z, len(widths) + 1, axis=-1) if self.skip_z else [z] + [z[:, :0]] * len(widths)
        tables = 0 if self.shared_embedding else self.num_classes
        if self.num_classes and self.shared_embedding:
            label = ClassEmbedding(self.num_classes, self.shared_dim, name="shared")(y)
        else:
            label = z[:, :0]

        x = Dense(4 * 4 * first * self.ch, dtype=self.dtype, name="linear")(z)
        x = x.reshape(-1, 4, 4, first * self.ch)
        for i, (width, chunk) in enumerate(zip(widths, chunks, strict=True)):
            c = y if tables else jnp.concatenate([label, chunk], axis=-1)
            settings = self.bn_eps, self.bn_momentum, self.dtype, tables, self.bn_group
            up = block(width * self.ch, *settings, name=f"block_{i}")
            x = up(x, c if tables or c.shape[-1] else None, train)
            if x.shape[1] in self.attention:
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{i}")(x)
        norm = {"bn_eps": self.bn_out_eps or self.bn_eps, "bn_momentum": self.bn_momentum}
        return to_image(x, pad_rgb=self.pad_rgb, dtype=self.dtype, train=train, bn_group=self.bn_group, **norm)


class DiscriminatorBlock(nn.Module):
    """Residual block: [B, H, W, C] to [B, H', W', features], H' = H/2 if `down`.

    Attributes:
        hidden: channels between its convolutions: `features` in SA-GAN and BigGAN, those of the input in SN-GAN.
        skip_relu: the skip connection starts from the ReLU, as in StudioGAN.
        norm: (name, x) to x normalised before a ReLU or on the skip connection, for a D with batch norm.
    """

    features: int
    hidden: int
    down: bool
    first: bool
    dtype: jnp.dtype
    skip_relu: bool = False
    norm: Callable[[str, jax.Array], jax.Array] = lambda name, x: x

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = x if self.first else nn.relu(self.norm("bn_1", x))
        x = h if self.skip_relu else x
        h = Conv3x3(self.hidden, dtype=self.dtype, name="conv_1")(h)
        h = nn.relu(self.norm("bn_1" if self.first else "bn_2", h))
        h = (Conv3x3Pool if self.down else Conv3x3)(self.features, dtype=self.dtype, name="conv_2")(h)
        if self.down or x.shape[-1] != self.features:
            # Average pooling commutes with the 1x1 convolution, and is cheaper before it, and with batch norm, whose statistics
            # are those of the original: taken after pooling in the first block, before it in the others.
            x = average_pool(x) if self.down and self.first else x
            x = self.norm("bn_0", x)
            x = average_pool(x) if self.down and not self.first else x
            x = Conv1x1(self.features, dtype=self.dtype, name="conv_skip")(x)
        return h + x


class Discriminator(nn.Module):
    """D(x, y): images in [-1, 1] and labels to logits, by projection (Miyato & Koyama 2018).

    num_classes: 0 is unconditional: no projection term, y is ignored. wide: the number of channels changes at a block's first
    convolution, as in SA-GAN and BigGAN; otherwise at the second, as in SN-GAN.
    """

    resolution: int
    num_classes: int
    ch: int = 96
    wide: bool = True
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
        x = jnp.asarray(x, self.dtype)
        for i, width in enumerate(widths_of(self.resolution, self.widths).discriminator):
            down = x.shape[1] > smallest_size(self.resolution)
            hidden = width * self.ch if self.wide else x.shape[-1]
            x = block(width * self.ch, hidden, down, i == 0, self.dtype, self.skip_relu, name=f"block_{i}")(x)
            # StudioGAN has attention after one block of a size, BigGAN-PyTorch after all.
            if x.shape[1] in self.attention and (down or self.widths == "paper"):
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{i}")(x)
        return projection(x, y, head=self.head._replace(size=self.num_classes))


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError if its options cannot be combined."""
    model = config.model
    chunks = len(check_widths(model, least=1).generator)
    if model.skip_z and not model.shared_embedding:
        raise UserError("model.shared_embedding=False needs model.skip_z=False: tables of classes have no input for z")
    if model.skip_z and model.dim_z % chunks:
        below = max(model.dim_z // chunks, 1) * chunks
        raise UserError(
            f"model.dim_z {model.dim_z} is not divisible by {chunks}, the number of chunks of skip_z; "
            f"nearest are {below} and {below + chunks}"
        )
    return modules.build(config, mesh, Generator, Discriminator)
