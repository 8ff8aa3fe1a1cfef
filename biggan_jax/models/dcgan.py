"""DCGAN: convolutions of stride 2 and batch norm, in four published forms (Radford et al. 2016).

    form          G                                            D
    torch         convT 4x4 from z, then 4x4 /2; tanh          conv 4x4 /2, leaky ReLU 0.2; conv 4x4 to 1    (dcgan.torch)
    paper         dense from z, then deconv 5x5 /2; tanh       conv 5x5 /2, leaky ReLU 0.2; dense 1          (dcgan_code, faces)
    conditional   the same, y joined to each layer's input     the same, y joined to each layer's input      (dcgan_code, MNIST)
    deep_conv     dense, convT 4x4 /2, conv 3x3; tanh          conv 3x3 and 4x4 /2 by turns, ReLU; dense 1   (StudioGAN)

Batch norm follows each layer but G's last, and D's first and last; with deep_conv also D's first, and it may be conditional.
The first three have no biases; their weights are from N(0, 0.02), gains of batch norm from N(1, 0.02). Real and fake images
pass D separately, each by their own batch's statistics.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.conditioning import as_vector
from biggan_jax.gan import GAN
from biggan_jax.layers.linear import Conv, orthogonal
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.layers.transposed import ConvTranspose
from biggan_jax.models import adversarial
from biggan_jax.models.heads import Head, apply_head
from biggan_jax.types import Array, Image, Label, Latent, Logit, UserError

normal = nn.initializers.normal(0.02)
NoBias = functools.partial(Conv, use_bias=False, kernel_init=normal)
NoBiasT = functools.partial(ConvTranspose, use_bias=False, kernel_init=normal)


def gains(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Draw gains of batch norm from N(1, 0.02)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


Norm = functools.partial(BatchNorm, 1e-5, gain_init=gains)
leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)


class TorchGenerator(nn.Module):
    """z [B, dim_z] to images [B, 4 * 2^n, ., channels]; the widths of layers halve down to ch."""

    resolution: int
    channels: int = 3
    ch: int = 64
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        stages = doublings(self.resolution)
        x = NoBiasT(self.ch << stages - 1, (4, 4), padding="VALID", name="conv_0")(z[:, None, None])
        x = nn.relu(Norm(momentum=self.bn_momentum, name="bn_0")(x, train=train))
        for i in range(1, stages):
            x = NoBiasT(self.ch << stages - 1 - i, (4, 4), (2, 2), name=f"conv_{i}")(x)
            x = nn.relu(Norm(momentum=self.bn_momentum, name=f"bn_{i}")(x, train=train))
        return jnp.tanh(NoBiasT(self.channels, (4, 4), (2, 2), name="conv_out")(x))


class TorchDiscriminator(nn.Module):
    """Images to logits [B]."""

    resolution: int
    ch: int = 64

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Logit:
        for i in range(doublings(self.resolution)):
            x = NoBias(self.ch << i, (4, 4), (2, 2), padding=1, name=f"conv_{i}")(x)
            x = leaky(Norm(name=f"bn_{i}")(x, train=train) if i else x)
        return NoBias(1, (4, 4), padding="VALID", name="linear")(x)[:, 0, 0, 0]


class PaperGenerator(nn.Module):
    """z [B, dim_z] to images [B, 4 * 2^n, ., channels] by 5x5 kernels; the widths halve down to ch."""

    resolution: int
    channels: int = 3
    ch: int = 128
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        stages = doublings(self.resolution)
        x = nn.Dense(16 * self.ch << stages - 1, use_bias=False, kernel_init=normal, name="dense")(z)
        x = nn.relu(
            Norm(momentum=self.bn_momentum, name="bn_0")(x.reshape(-1, 4, 4, self.ch << stages - 1), train=train)
        )
        for i in range(1, stages):
            x = NoBiasT(self.ch << stages - 1 - i, (5, 5), (2, 2), name=f"conv_{i}")(x)
            x = nn.relu(Norm(momentum=self.bn_momentum, name=f"bn_{i}")(x, train=train))
        return jnp.tanh(NoBiasT(self.channels, (5, 5), (2, 2), name="conv_out")(x))


class PaperDiscriminator(nn.Module):
    """Images to logits [B]."""

    resolution: int
    ch: int = 128

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Logit:
        for i in range(doublings(self.resolution)):
            x = NoBias(self.ch << i, (5, 5), (2, 2), padding=2, name=f"conv_{i}")(x)
            x = leaky(Norm(name=f"bn_{i}")(x, train=train) if i else x)
        return nn.Dense(1, use_bias=False, kernel_init=normal, name="linear")(x.reshape(len(x), -1))[:, 0]


def join(x: Array, c: jax.Array) -> jax.Array:
    """Concatenate the condition [B, size] to the channels of x [B, C] or, at each pixel, [B, H, W, C]."""
    if x.ndim == 4:
        c = jnp.broadcast_to(c[:, None, None], (*x.shape[:3], c.shape[-1]))
    return jnp.concatenate([x, c], axis=-1)


class ConditionalGenerator(nn.Module):
    """z [B, dim_z] and a condition of size `size` to images, whose sides are multiples of 4: the form for MNIST."""

    shape: tuple[int, int, int]
    size: int
    ch: int = 64
    hidden: int = 1024
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label, *, train: bool = False) -> Image:
        c, (h, w, channels) = as_vector(y, self.size), self.shape
        dense = lambda features, name: nn.Dense(features, use_bias=False, kernel_init=normal, name=name)
        norm = lambda name, x: nn.relu(Norm(momentum=self.bn_momentum, name=name)(x, train=train))
        x = norm("bn_0", dense(self.hidden, "dense_0")(join(z, c)))
        x = norm("bn_1", dense(h // 4 * (w // 4) * 2 * self.ch, "dense_1")(join(x, c)))
        x = x.reshape(-1, h // 4, w // 4, 2 * self.ch)
        x = norm("bn_2", NoBiasT(self.ch, (5, 5), (2, 2), name="conv_2")(join(x, c)))
        return 2 * nn.sigmoid(NoBiasT(channels, (5, 5), (2, 2), name="conv_out")(join(x, c))) - 1


class ConditionalDiscriminator(nn.Module):
    """Images and their condition to logits [B]."""

    size: int
    ch: int = 64
    hidden: int = 1024

    @nn.compact
    def __call__(self, x: Image, y: Label, *, train: bool = False) -> Logit:
        c = as_vector(y, self.size)
        dense = lambda features, name: nn.Dense(features, use_bias=False, kernel_init=normal, name=name)
        x = leaky(NoBias(self.ch, (5, 5), (2, 2), padding=2, name="conv_0")(join((x + 1) / 2, c)))
        x = NoBias(2 * self.ch, (5, 5), (2, 2), padding=2, name="conv_1")(join(x, c))
        x = leaky(Norm(name="bn_1")(x, train=train))
        x = leaky(Norm(name="bn_2")(dense(self.hidden, "dense_2")(join(x.reshape(len(x), -1), c)), train=train))
        return dense(1, "linear")(join(x, c))[:, 0]


StudioNorm = functools.partial(BatchNorm, 1e-4)


class DeepConvGenerator(nn.Module):
    """z [B, dim_z] to images [B, 32, 32, channels]; with a condition of size `size`, batch norms depend on it."""

    channels: int = 3
    ch: int = 64
    size: int = 0
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        c = as_vector(y, self.size) if self.size else None
        x = nn.Dense(16 * 8 * self.ch, kernel_init=orthogonal, name="linear")(z).reshape(-1, 4, 4, 8 * self.ch)
        for i, width in enumerate((4, 2, 1)):
            x = ConvTranspose(width * self.ch, (4, 4), (2, 2), kernel_init=orthogonal, name=f"conv_{i}")(x)
            x = nn.relu(StudioNorm(momentum=self.bn_momentum, name=f"bn_{i}")(x, c, train=train))
        return jnp.tanh(Conv(self.channels, (3, 3), name="conv_out")(x))


class DeepConvDiscriminator(nn.Module):
    """Images to a logit [B] or an Output. norm: batch norm, left out with spectral norm."""

    ch: int = 64
    head: Head = Head("none")
    norm: bool = True

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Any:
        after = lambda x, name: nn.relu(StudioNorm(name=name)(x, train=train) if self.norm else x)
        for i, width in enumerate((1, 2, 4)):
            x = after(Conv(width * self.ch, (3, 3), name=f"conv_{i}_1")(x), f"bn_{i}_1")
            x = after(Conv(width * self.ch, (4, 4), (2, 2), padding=1, name=f"conv_{i}_2")(x), f"bn_{i}_2")
        x = after(Conv(8 * self.ch, (3, 3), name="conv_3")(x), "bn_3")
        return apply_head(x.sum((1, 2)), y, self.head)


def doublings(resolution: int) -> int:
    """Return n for a resolution of 4 * 2^n pixels. Raises UserError for another one."""
    n = int(math.log2(max(resolution, 4) / 4))
    if n < 1 or 4 * 2**n != resolution:
        raise UserError(
            f"this network makes images of 8, 16, 32, 64, ... pixels, not of {resolution}; see model.image_shape"
        )
    return n


def torch_form(config: ml_collections.ConfigDict) -> tuple[nn.Module, nn.Module]:
    """Return G and D of the form torch. Raises UserError for images that are not square."""
    resolution, channels = square(config)
    return TorchGenerator(resolution, channels, config.model.ch), TorchDiscriminator(resolution, config.model.ch)


def square(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """Return (resolution, channels). Raises UserError for images that are not square, or vectors."""
    shape = tuple(config.model.image_shape)
    if len(shape) != 3 or shape[0] != shape[1]:
        raise UserError(f"model.image_shape {shape} is not (n, n, channels), and these networks make square images")
    doublings(shape[0])
    return shape[0], shape[2]


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError for a shape or a condition that the form cannot take."""
    model, shape = config.model, tuple(config.model.image_shape)
    size = adversarial.condition_of(config).size
    if model.form in ("torch", "paper") and size:
        raise UserError(
            f"model.form={model.form} has no condition: use conditional or deep_conv, or model.num_classes=0"
        )
    if model.form == "conditional":
        if not size:
            raise UserError("model.form=conditional needs a condition: set model.num_classes above 0")
        if len(shape) != 3 or shape[0] % 4 or shape[1] % 4:
            what = "images (height, width, channels) with sides that are multiples of 4"
            raise UserError(f"model.form=conditional draws {what}; model.image_shape is {shape}")
        networks = ConditionalGenerator(shape, size, model.ch), ConditionalDiscriminator(size, model.ch)
    elif model.form == "deep_conv":
        resolution, channels = square(config)
        if resolution != 32:
            raise UserError(f"model.form=deep_conv makes images of 32 pixels, not of {resolution}")
        head = adversarial.head_of(config)
        networks = (
            DeepConvGenerator(channels, model.ch, size),
            DeepConvDiscriminator(model.ch, head, not model.d_spectral_norm),
        )
    elif model.form == "paper":
        resolution, channels = square(config)
        networks = PaperGenerator(resolution, channels, model.ch), PaperDiscriminator(resolution, model.ch)
    else:
        networks = torch_form(config)
    return adversarial.build(config, mesh, *networks, image_shape=shape, head=getattr(networks[1], "head", None))
