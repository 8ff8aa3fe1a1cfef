"""Networks from image to image: a residual G, a U-Net and a PatchGAN (Isola et al. 2017; Zhu et al. 2017).

Norms are of each image (instance) or of the batch (batch). Before an instance norm convolutions have biases, as in
pytorch-CycleGAN-and-pix2pix, though the norm takes them away. dtype: of activations; images and logits are float32.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers import linear
from biggan_jax.layers.norm import BatchNorm, instance_norm
from biggan_jax.layers.transposed import ConvTranspose
from biggan_jax.models.dcgan import gains
from biggan_jax.types import UserError

EPS = 1e-5
normal = nn.initializers.normal(0.02)
Conv = functools.partial(linear.Conv, kernel_init=normal, padding="VALID")
ConvT = functools.partial(ConvTranspose, kernel_init=normal, strides=(2, 2))
leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)


def reflect(x: jax.Array, n: int) -> jax.Array:
    """Pad each side by n mirrored pixels, without its edge. Raises UserError for an image of at most n pixels."""
    if min(x.shape[1:3]) <= n:
        raise UserError(
            f"an image of {x.shape[1]} x {x.shape[2]} has no {n} pixels to mirror; the least side is {n + 1}"
        )
    return jnp.pad(x, ((0, 0), (n, n), (n, n), (0, 0)), mode="reflect")


class Norm(nn.Module):
    """Normalise by the statistics of each image, without weights (instance), or of the batch, with gain and offset (batch)."""

    kind: str
    momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.kind == "instance":
            return instance_norm(x, EPS)
        return BatchNorm(EPS, self.momentum, self.dtype, gain_init=gains, name="batch")(x, train=train)


class ResidualTranslator(nn.Module):
    """Images [B, H, W, C] to images [B, H, W, channels]: two halvings, residual blocks at 4 ch channels, two doublings.

    Sides are multiples of 4. blocks: 9 for 256 pixels and more, 6 for 128. dropout: share of values dropped in each block.
    """

    channels: int = 3
    ch: int = 64
    blocks: int = 9
    norm: str = "instance"
    dropout: float = 0.0
    bn_momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        check_sides(x, 4)
        biased = self.norm == "instance"
        norm = lambda x, name: Norm(self.norm, self.bn_momentum, self.dtype, name=name)(x, train=train)
        conv = functools.partial(Conv, use_bias=biased, dtype=self.dtype)
        conv_t = functools.partial(ConvT, use_bias=biased, dtype=self.dtype)
        x = nn.relu(norm(conv(self.ch, (7, 7), name="conv_in")(reflect(x, 3)), "bn_in"))
        for i in (0, 1):
            x = nn.relu(norm(conv(self.ch * 2 << i, (3, 3), 2, padding=1, name=f"down_{i}")(x), f"bn_down_{i}"))
        for i in range(self.blocks):
            h = nn.relu(norm(conv(4 * self.ch, (3, 3), name=f"block_{i}_conv_1")(reflect(x, 1)), f"block_{i}_bn_1"))
            if self.dropout:
                h = nn.Dropout(self.dropout, deterministic=not train)(h)
            x = x + norm(conv(4 * self.ch, (3, 3), name=f"block_{i}_conv_2")(reflect(h, 1)), f"block_{i}_bn_2")
        for i in (0, 1):
            up = conv_t(2 * self.ch >> i, (3, 3), padding=((1, 2), (1, 2)), name=f"up_{i}")
            x = nn.relu(norm(up(x), f"bn_up_{i}"))
        return to_image(Conv(self.channels, (7, 7), dtype=self.dtype, name="conv_out")(reflect(x, 3)))


class UNet(nn.Module):
    """Images [B, H, W, C] to images [B, H, W, channels]: n halvings, and doublings that also see the halving of their size.

    Sides are multiples of 2^n; widths are ch, 2 ch, 4 ch and then 8 ch. dropout: in the doublings between layers of 8 ch; it
    also stands for noise, so the original draws with it.
    """

    halvings: int = 8
    channels: int = 3
    ch: int = 64
    norm: str = "batch"
    dropout: float = 0.5
    bn_momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        check_sides(x, 1 << self.halvings)
        biased = self.norm == "instance"
        norm = lambda x, name: Norm(self.norm, self.bn_momentum, self.dtype, name=name)(x, train=train)
        conv = functools.partial(Conv, kernel_size=(4, 4), strides=2, padding=1, use_bias=biased, dtype=self.dtype)
        conv_t = functools.partial(ConvT, kernel_size=(4, 4), dtype=self.dtype)
        skips, last = [], self.halvings - 1
        for i in range(self.halvings):
            x = conv(self.ch * min(1 << i, 8), name=f"down_{i}")(leaky(x) if i else x)
            if 0 < i < last:
                x = norm(x, f"bn_down_{i}")
            skips.append(x)
        x = skips.pop()
        for i in range(last, 0, -1):
            up = conv_t(self.ch * min(1 << i - 1, 8), use_bias=biased, name=f"up_{i}")
            x = norm(up(nn.relu(x)), f"bn_up_{i}")
            if self.dropout and 4 <= i < last:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = jnp.concatenate([skips.pop(), x], axis=-1)
        return to_image(conv_t(self.channels, name="up_0")(nn.relu(x)))


class PatchDiscriminator(nn.Module):
    """Images [B, H, W, C] to a map of logits [B, h, w], each of a patch; with 3 layers of 70 x 70 pixels.

    layers: convolutions of stride 2.
    """

    ch: int = 64
    layers: int = 3
    norm: str = "instance"
    bn_momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        conv = functools.partial(Conv, kernel_size=(4, 4), padding=1, dtype=self.dtype)
        x = leaky(conv(self.ch, strides=2, name="conv_0")(x))
        for i in range(1, self.layers + 1):
            width, stride = self.ch * min(1 << i, 8), 2 if i < self.layers else 1
            x = conv(width, strides=stride, use_bias=self.norm == "instance", name=f"conv_{i}")(x)
            x = leaky(Norm(self.norm, self.bn_momentum, self.dtype, name=f"bn_{i}")(x, train=train))
        return conv(1, name="conv_out")(x)[..., 0].astype(jnp.float32)


def to_image(x: jax.Array) -> jax.Array:
    """Return the tanh, in float32."""
    return jnp.tanh(x.astype(jnp.float32))


def check_sides(x: jax.Array, multiple: int) -> None:
    """Raise UserError unless the sides of images are multiples of `multiple`."""
    if x.shape[1] % multiple or x.shape[2] % multiple:
        raise UserError(
            f"images of {x.shape[1]} x {x.shape[2]}: this network needs sides that are multiples of {multiple}"
        )
