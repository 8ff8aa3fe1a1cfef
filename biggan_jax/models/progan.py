"""ProGAN: networks that grow from 4 to 1024 pixels (Karras et al. 2018).

    G                                                  D
    z (and one-hot label), pixel norm                  image; conv 1x1 at the stage's size
    dense to the smallest map; conv 3x3                stages: conv 3x3; conv 3x3, average 2x2
    stages: upsample, conv 3x3; conv 3x3               minibatch deviation, conv 3x3
    conv 1x1 to the image, no tanh                     dense; dense 1 (and classes: AC-GAN)

Leaky ReLU 0.2 follows all layers but the last, and in G pixel norm. Each layer has a bias and equalized learning rate, with
gain sqrt(2); of G's dense layer sqrt(2) / 4, of the last layers 1. A new stage fades in: G blends its image with that of the
stage before, upsampled, D its features with those of the image, averaged. With loss=wasserstein, regularizer.gp=10 and
drift=0.001 it is the paper's; configs/modern has its presets. Difference: the average of G is moved after G's update,
in the authors' code beside D's.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.conditioning import Output, as_vector
from biggan_jax.growth import blend
from biggan_jax.layers.equalized import EqualizedConv, EqualizedDense
from biggan_jax.layers.minibatch_stddev import minibatch_stddev
from biggan_jax.layers.norm import pixel_norm
from biggan_jax.layers.resample import average_pool, blur, upsample
from biggan_jax.models import adversarial, growing
from biggan_jax.models.heads import rematerialised
from biggan_jax.types import Image, Label, Latent, UserError

leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)
GAIN = math.sqrt(2)


def widths_of(base: int, most: int, last: int) -> tuple[int, ...]:
    """Return the channels of stages -1 ... last: base / 2^(stage + 1), at most `most`. Stage -1: D's dense layer."""
    return tuple(min(int(base / 2 ** (stage + 1)), most) for stage in range(-1, last + 1))


class GeneratorBlock(nn.Module):
    """Upsample x [B, H, W, C], then two convolutions to `width` channels."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = pixel_norm(leaky(EqualizedConv(self.width, GAIN, resample="up", name="conv_0")(x)))
        return pixel_norm(leaky(EqualizedConv(self.width, GAIN, name="conv_1")(x)))


class DiscriminatorBlock(nn.Module):
    """Two convolutions of x [B, H, W, C] to `width` channels, and the mean of 2x2 pixels.

    fused: the mean comes before the last activation. smooth: the second convolution sees its input blurred (StyleGAN).
    """

    width: int
    fused: bool
    smooth: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = leaky(EqualizedConv(x.shape[-1], GAIN, name="conv_0")(x))
        x = blur(x) if self.smooth else x
        x = leaky(EqualizedConv(self.width, GAIN, resample="down" if self.fused else "", name="conv_1")(x))
        return x if self.fused else average_pool(x)


class _Growing(nn.Module):
    """What both networks share.

    shape: of full-size images. widths: of stages -1 ... last. first: the stage of the first step. size: classes. stage: see growing.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    first: int = 0
    size: int = 0
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    stage: int | None = None

    @property
    def last(self) -> int:
        return len(self.widths) - 2

    def fades(self) -> tuple[jax.Array, int, int]:
        """Return the level of detail, and the first and the last stage whose images are computed."""
        lod = self.variable(growing.COLLECTION, "lod", lambda: jnp.float32(self.last - self.first)).value
        if self.stage is None or self.is_initializing():
            return lod, 0, self.last
        return lod, max(self.stage - 1, 0), self.stage

    def block(self, kind: type[nn.Module], stage: int, *fields: Any) -> nn.Module:
        return (rematerialised(kind) if self.remat else kind)(*fields, name=f"block_{stage}")


class Generator(_Growing):
    """z [B, dim_z] and labels to images of the stage's size, or in evaluation of full size; their values are not bounded."""

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        lod, lowest, stage = self.fades()
        if self.size:
            assert y is not None
            z = jnp.concatenate([z, as_vector(y, self.size)], axis=-1)
        height, width, channels = self.shape
        first = self.widths[1]
        small = height >> self.last, width >> self.last
        x = pixel_norm(jnp.asarray(z)).astype(self.dtype)
        x = EqualizedDense(math.prod(small) * first, GAIN / 4, use_bias=False, name="linear")(x)
        bias = self.param("bias", nn.initializers.zeros, (first,)).astype(x.dtype)
        x = pixel_norm(leaky(x.reshape(-1, *small, first) + bias))
        x = pixel_norm(leaky(EqualizedConv(first, GAIN, name="conv")(x)))
        image: jax.Array | None = None
        for i in range(stage + 1):
            x = self.block(GeneratorBlock, i, self.widths[i + 1])(x) if i else x
            if i >= lowest:
                new: jax.Array = EqualizedConv(channels, size=1, name=f"to_image_{i}")(x).astype(jnp.float32)
                image = new if image is None else blend(new, upsample(image), growing.fade(lod, self.last, i))
        assert image is not None
        for _ in range(0 if train else self.last - stage):
            image = upsample(image)
        return image


class Discriminator(_Growing):
    """Images, at least of the stage's size, to a logit [B], or with classes to an Output.

    group: of minibatch_stddev; below 2: none. fused, smooth: see DiscriminatorBlock. by_class: D has a logit for each of so
    many classes, of which the label chooses one (StyleGAN); 0: one logit, besides those of classes.
    """

    group: int = 4
    fused: bool = True
    smooth: bool = False
    by_class: int = 0

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Any:
        lod, lowest, stage = self.fades()
        image = jnp.asarray(x, self.dtype)
        while image.shape[1] > self.shape[0] >> (self.last - stage):
            image = average_pool(image)
        read = lambda i: leaky(EqualizedConv(self.widths[i + 1], GAIN, size=1, name=f"from_image_{i}")(image))
        x = read(stage)
        for i in range(stage, 0, -1):
            x = self.block(DiscriminatorBlock, i, self.widths[i], self.fused, self.smooth)(x)
            image = average_pool(image)
            if i > lowest:
                x = blend(x, read(i - 1), growing.fade(lod, self.last, i).astype(x.dtype))
        if self.group > 1:
            x = minibatch_stddev(x, self.group if len(x) % self.group == 0 else math.gcd(self.group, len(x)))
        x = leaky(EqualizedConv(self.widths[1], GAIN, name="conv")(x))
        x = leaky(EqualizedDense(self.widths[0], GAIN, name="dense")(x.reshape(len(x), -1)))
        out = EqualizedDense(self.by_class or 1 + self.size, name="linear")(x.astype(jnp.float32))
        if self.by_class:
            assert y is not None
            return jnp.sum(out * as_vector(y, self.by_class), -1)
        return Output(out[:, 0], classes=out[:, 1:]) if self.size else out[:, 0]


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> growing.GrowingGAN:
    """Build the GAN of `config`. Raises UserError."""
    model, shape, own = config.model, tuple(config.model.image_shape), growing.of(config)
    growing.check(config, own, mesh, model.stddev_group)
    head = adversarial.head_of(config)
    if head.kind not in ("ac", "none") or head.features or head.normalize:
        raise UserError(
            f"condition.d={config.condition.d}: ProGAN's D has the heads ac and none, without features and condition.normalize"
        )
    widths = widths_of(model.fmap_base, model.fmap_max, own.last)
    if min(widths) < 1:
        raise UserError(f"model.fmap_base {model.fmap_base} leaves no channels to images of {shape[0]} pixels")
    dtype, remat = jnp.dtype(config.dtype), config.remat == "blocks"
    G = Generator(shape, widths, own.first, model.num_classes, dtype, remat)
    classes = head.size if head.kind == "ac" else 0
    D = Discriminator(
        shape, widths, own.first, classes, dtype, remat, group=model.stddev_group, fused=model.fused_scale
    )
    gan = adversarial.build(
        config, mesh, G, D, image_shape=shape, family=growing.GrowingGAN, head=head, mixed=False, growth=own
    )
    assert isinstance(gan, growing.GrowingGAN)
    return growing.with_rates(gan)
