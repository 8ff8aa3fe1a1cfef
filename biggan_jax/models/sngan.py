"""SNGAN and projection: ResNets whose D is spectrally normalised (Miyato et al. 2018; Miyato & Koyama 2018; their code).

    G                                                  D, every layer spectrally normalised
    z ~ N(0, 1)^128, dense to 4 x 4                    first block: conv 3x3, ReLU, conv 3x3, pool; skip: pool, conv 1x1
    blocks: BN, ReLU, up, conv 3x3, BN, ReLU,          blocks: ReLU, conv 3x3, ReLU, conv 3x3, pool in some;
            conv 3x3; skip: up, conv 1x1                       skip: conv 1x1, pool
    BN, ReLU, conv 3x3, tanh                           ReLU, sum, dense 1, + <embed(y), h>

With a condition, batch norm is 1 + W y and V y times and plus. WIDTHS has the channels. In the authors' D at 128 pixels a
block's first convolution keeps the channels of its input; in StudioGAN's and SAGAN's it has those of the output (d_wide).
StudioGAN's D without spectral norm has batch norm before each ReLU and on each skip connection (d_batch_norm).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.conditioning import as_vector
from biggan_jax.config import choose
from biggan_jax.gan import GAN
from biggan_jax.layers.attention import Attend, SelfAttention, attend
from biggan_jax.layers.initializers import redraw_each
from biggan_jax.layers.linear import Conv3x3, Dense
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.models import adversarial, modules
from biggan_jax.models.biggan import DiscriminatorBlock, GeneratorBlock
from biggan_jax.models.heads import Head, apply_head
from biggan_jax.types import Image, Label, Latent, Params, UserError


class Widths(NamedTuple):
    """Multiples of ch: of G's first layer, of its blocks, and of D's blocks, of which the first `pools` halve the size."""

    first: int
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    pools: int


WIDTHS = {
    32: Widths(4, (4, 4, 4), (2, 2, 2, 2), 2),
    64: Widths(16, (8, 4, 2, 1), (1, 2, 4, 8, 16), 4),
    128: Widths(16, (16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
    256: Widths(16, (16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6),
    512: Widths(16, (16, 8, 8, 4, 2, 1, 1), (1, 1, 2, 4, 8, 8, 16, 16), 7),
}
"""By height. 32 and 128 pixels are the papers' with ch 64; the others StudioGAN's."""


class Generator(nn.Module):
    """z [B, dim_z] and a condition of size `size` to images [B, *shape] in [-1, 1].

    attention: heights of feature maps; attention follows the blocks that make them.
    """

    shape: tuple[int, int, int]
    ch: int = 64
    size: int = 0
    attention: tuple[int, ...] = ()
    bn_eps: float = 2e-5
    bn_momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32
    attend: Attend = attend

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        height, width, channels = self.shape
        table = WIDTHS[height]
        c = as_vector(y, self.size) if self.size else None
        small = height >> len(table.generator), width >> len(table.generator)
        x = Dense(math.prod(small) * table.first * self.ch, dtype=self.dtype, name="linear")(z)
        x = x.reshape(-1, *small, table.first * self.ch)
        for i, multiple in enumerate(table.generator):
            block = GeneratorBlock(multiple * self.ch, self.bn_eps, self.bn_momentum, self.dtype, name=f"block_{i}")
            x = block(x, c, train)
            if x.shape[1] in self.attention:
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{i}")(x)
        x = nn.relu(BatchNorm(self.bn_eps, self.bn_momentum, self.dtype, name="bn_out")(x, train=train))
        return jnp.tanh(Conv3x3(channels, dtype=self.dtype, name="conv_out")(x).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images to a logit [B] or an Output. pool: sum or mean of the last features. bias: of the last layer.

    attention: heights of feature maps; attention follows the first block that makes them.
    """

    ch: int = 64
    head: Head = Head("none")
    wide: bool = True
    bias: bool = False
    pool: str = "sum"
    attention: tuple[int, ...] = ()
    batch_norm: bool = False
    bn_eps: float = 2e-5
    bn_momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32
    skip_relu: bool = False
    attend: Attend = attend

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Any:
        table, x = WIDTHS[x.shape[1]], jnp.asarray(x, self.dtype)

        def norm(name: str, x: jax.Array) -> jax.Array:
            return (
                BatchNorm(self.bn_eps, self.bn_momentum, self.dtype, name=name)(x, train=train)
                if self.batch_norm
                else x
            )

        for i, multiple in enumerate(table.discriminator):
            down, features = i < table.pools, multiple * self.ch
            hidden = features if self.wide or i == 0 else x.shape[-1]
            block = DiscriminatorBlock(
                features, hidden, down, i == 0, self.dtype, self.skip_relu, norm, name=f"block_{i}"
            )
            x = block(x)
            if down and x.shape[1] in self.attention:
                x = SelfAttention(self.dtype, self.attend, name=f"attention_{i}")(x)
        x = nn.relu(x).astype(jnp.float32)
        return apply_head(getattr(x, self.pool)((1, 2)), y, self.head, bias=self.bias)


def glorot(params: Params, key: jax.Array, gain: float = math.sqrt(2)) -> Params:
    """Draw all weights by Glorot's uniform rule, times `gain` for the 3x3 convolutions of blocks, as the authors' code does.

    The weights of conditional batch norm are 0: each condition starts with the gain 1 and the offset 0.
    """
    uniform = nn.initializers.xavier_uniform()

    def draw(path, weight, key):
        if path[-2] in ("gain", "offset"):
            return jnp.zeros_like(weight)
        three = weight.ndim == 4 and weight.shape[:2] == (3, 3) and path[-2] != "conv_out"
        return uniform(key, weight.shape) * (gain if three else 1)

    return redraw_each(params, key, draw)


INITS: dict[str, Callable[[Params, jax.Array], Params]] = {
    "glorot": glorot,
    "xavier": functools.partial(glorot, gain=1),
}
"""Initial weights that conditional batch norm is left out of: SNGAN's, and SAGAN's without a gain."""


def check_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """Return image_shape. Raises UserError for one that halving does not bring to whole sides."""
    shape = tuple(config.model.image_shape)
    if len(shape) != 3:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels), and these networks make images")
    table = choose(WIDTHS, "the height in model.image_shape", shape[0])
    if shape[1] % 2 ** len(table.generator):
        raise UserError(f"model.image_shape {shape}: the width must be a multiple of {2 ** len(table.generator)}")
    return shape


def check_attention(model: ml_collections.ConfigDict, height: int) -> None:
    """Raise UserError for attention at a height that no feature map has, or with fewer channels than it needs."""
    table = WIDTHS[height]
    maps = {
        "g": {height >> len(table.generator) - 1 - i: width for i, width in enumerate(table.generator)},
        "d": {height >> min(i + 1, table.pools): width for i, width in enumerate(table.discriminator)},
    }
    for network, known in maps.items():
        ch = model[f"{network}_ch"] or model.ch
        for size in model[f"{network}_attention"]:
            if size not in known:
                raise UserError(
                    f"model.{network}_attention {size} is no size of {network.upper()}'s feature maps, which are "
                    f"{', '.join(map(str, known))}"
                )
            if known[size] * ch < 8:
                raise UserError(f"model.ch {ch} is too small for attention at {size}, which needs 8 channels")


def networks(config: ml_collections.ConfigDict, mesh: Mesh | None) -> tuple[Generator, Discriminator]:
    """Return G and D of `config`. Raises UserError."""
    model, shape, dtype = config.model, check_shape(config), jnp.dtype(config.dtype)
    check_attention(model, shape[0])
    if model.d_skip_relu and model.d_batch_norm:
        raise UserError("model.d_skip_relu is of a D without batch norm; unset it, or model.d_batch_norm")
    g_ch, d_ch = model.g_ch or model.ch, model.d_ch or model.ch
    size, attends = adversarial.condition_of(config).size, modules.attention_in(mesh, config)
    return (
        Generator(shape, g_ch, size, tuple(model.g_attention), model.bn_eps, model.bn_momentum, dtype, attends[0]),
        Discriminator(
            ch=d_ch,
            head=adversarial.head_of(config),
            wide=model.d_wide,
            bias=model.d_bias,
            attention=tuple(model.d_attention),
            batch_norm=model.d_batch_norm,
            bn_eps=model.bn_eps,
            bn_momentum=model.bn_momentum,
            dtype=dtype,
            skip_relu=model.d_skip_relu,
            attend=attends[1],
        ),
    )


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError."""
    G, D = networks(config, mesh)
    return adversarial.build(config, mesh, G, D, image_shape=G.shape, head=D.head, redraw=INITS.get(config.model.init))
