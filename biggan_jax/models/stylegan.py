"""StyleGAN: ProGAN whose G is driven by styles (Karras et al. 2019).

    G                                                  D
    mapping: dense layers from z and embed(y) to w     that of ProGAN, with a blur before each average;
    a learned 4 x 4 map, noise; conv 3x3, noise        with classes, a logit for each, which the label chooses
    stages: upsample, conv 3x3, blur, noise;
        conv 3x3, noise
    conv 1x1 to the image, no tanh

Noise has a learned strength for each channel. Bias, leaky ReLU 0.2, instance norm and a style follow it: a scale and an offset of
each channel, an affine map of w. Each layer has equalized learning rate, with gain sqrt(2), of styles and images 1. A new stage
fades in as in ProGAN. configs/modern has the paper's presets. Differences: the cutoff of style mixing is drawn for each image,
not for each device; D compares consecutive images; the average of G is moved after G's update, in the authors' code beside D's.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.family import Nets, Update
from biggan_jax.gan import GAN
from biggan_jax.growth import blend
from biggan_jax.layers.equalized import EqualizedConv, EqualizedDense
from biggan_jax.layers.linear import ClassEmbedding
from biggan_jax.layers.norm import instance_norm, pixel_norm
from biggan_jax.layers.resample import blur, upsample
from biggan_jax.models import adversarial, growing, stylegan2
from biggan_jax.models.heads import rematerialised
from biggan_jax.models.progan import GAIN, Discriminator, leaky, widths_of
from biggan_jax.models.style import StyleGAN
from biggan_jax.models.stylegan2 import Noise
from biggan_jax.types import Batch, Image, Label, Latent, UserError

EPS = 1e-8  # Of instance norm.


class Mapping(nn.Module):
    """z [B, dim_z] and labels to w [B, widths[-1]]. z and a row of a table for the label are joined, then scaled to mean square 1."""

    widths: tuple[int, ...]
    size: int = 0
    lr: float = 0.01

    @nn.compact
    def __call__(self, z: Latent, y: Label | None) -> jax.Array:
        x = jnp.asarray(z)
        if self.size:
            assert y is not None
            table = ClassEmbedding(self.size, x.shape[-1], nn.initializers.normal(1.0), name="embed")
            x = jnp.concatenate([x, table(y)], axis=-1)
        x = pixel_norm(x)
        for i, width in enumerate(self.widths):
            x = leaky(EqualizedDense(width, GAIN, lr_multiplier=self.lr, name=f"dense_{i}")(x))
        return x


class StyledLayer(nn.Module):
    """x [B, H, W, C] and w [B, dim_w] to [B, H', W', features]. conv: begins with a convolution; up: which doubles the size."""

    features: int
    conv: bool = True
    up: bool = False
    noise: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, mix: jax.Array | None) -> jax.Array:
        if self.conv:
            resample = "up" if self.up else ""
            x = EqualizedConv(self.features, GAIN, use_bias=False, resample=resample, name="conv")(x)
            x = blur(x) if self.up else x
        zeros = nn.initializers.zeros
        if self.noise:
            strength = self.param("noise_strength", zeros, (self.features,))
            x += (strength * Noise(name="noise")(x.shape[:3], mix)).astype(x.dtype)
        x = leaky(x + self.param("bias", zeros, (self.features,)).astype(x.dtype))
        style = EqualizedDense(2 * self.features, name="style")(w.astype(jnp.float32))[:, None, None]
        scale, offset = jnp.split(style.astype(x.dtype), 2, axis=-1)
        return instance_norm(x, EPS) * (scale + 1) + offset


class Block(nn.Module):
    """The two layers of a stage. x: features of the stage before; None for the first stage, which has a constant of size `small`."""

    features: int
    small: tuple[int, int]
    noise: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array | None, ws: jax.Array, mix: jax.Array | None) -> jax.Array:
        first, later = x is None, x is not None
        if first:
            constant = self.param("constant", nn.initializers.ones, (*self.small, self.features))
            x = jnp.broadcast_to(constant.astype(self.dtype), (len(ws), *constant.shape))
        x = StyledLayer(self.features, conv=later, up=later, noise=self.noise, name="layer_0")(x, ws[:, 0], mix)
        return StyledLayer(self.features, noise=self.noise, name="layer_1")(x, ws[:, 1], mix)


class Synthesis(nn.Module):
    """w's [B, styles, dim_w] to images of the stage's size, or in evaluation of full size; their values are not bounded.

    shape: of full-size images. widths: as in progan.Generator. first: the stage of the first step. mix: see stylegan2.Noise.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    first: int = 0
    noise: bool = True
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @property
    def last(self) -> int:
        return len(self.widths) - 2

    @property
    def styles(self) -> int:
        """The w's of an image: one for each layer, two for each stage."""
        return 2 * (self.last + 1)

    @nn.compact
    def __call__(
        self, ws: jax.Array, mix: jax.Array | None, lod: jax.Array, stage: int | None, *, train: bool = False
    ) -> Image:
        """lod: the level of detail. stage: the last one that is computed; None: all."""
        highest = self.last if stage is None or self.is_initializing() else stage
        lowest = 0 if stage is None or self.is_initializing() else max(stage - 1, 0)
        height, width, channels = self.shape
        small = height >> self.last, width >> self.last
        block = rematerialised(Block) if self.remat else Block
        x: jax.Array | None = None
        image: jax.Array | None = None
        for i in range(highest + 1):
            own = block(self.widths[i + 1], small, self.noise, self.dtype, name=f"block_{i}")
            x = own(x, ws[:, 2 * i : 2 * i + 2], mix)
            if i >= lowest:
                new: jax.Array = EqualizedConv(channels, size=1, name=f"to_image_{i}")(x).astype(jnp.float32)
                image = new if image is None else blend(new, upsample(image), growing.fade(lod, self.last, i))
        assert image is not None
        for _ in range(0 if train else self.last - highest):
            image = upsample(image)
        return image


class Generator(stylegan2.Generator):
    """z [B, dim_z] and a condition to images. stage: see models.growing."""

    stage: int | None = None

    def setup(self):
        super().setup()
        synthesis = self.synthesis
        self.lod = self.variable(growing.COLLECTION, "lod", lambda: jnp.float32(synthesis.last - synthesis.first))

    def synthesize(self, ws: jax.Array, mix: jax.Array | None = None, *, train: bool = False) -> Image:
        """Return the images of w's [B, styles, dim_w]."""
        return self.synthesis(ws, mix, self.lod.value, self.stage, train=train)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowingStyleGAN(growing.GrowingGAN, StyleGAN):
    """A StyleGAN whose networks grow. A step updates D, then G, as in the authors' code."""

    def updates(self) -> tuple[Update, ...]:
        return GAN.updates(self)

    def draw_cutoff(self, key: jax.Array, mixed: jax.Array) -> jax.Array:
        """Draw a number in [0, 1) for the cutoff among the layers of the stage, or 1 for none."""
        return jnp.where(mixed, jax.random.uniform(key, mixed.shape), 1.0)

    def mixing(self, nets: Nets, batch: Batch) -> dict[str, Any]:
        """Return z2, and the cutoff among the layers that the level of detail has, of which a new stage counts as soon as it fades."""
        found = super().mixing(nets, batch)
        if found:
            lod = nets.moving.variables["G"][growing.COLLECTION]["lod"]
            layers = self.styles - 2 * jnp.floor(lod).astype(jnp.int32)
            drawn = 1 + jnp.floor(found["cutoff"] * (layers - 1)).astype(jnp.int32)
            found["cutoff"] = jnp.where(found["cutoff"] < 1, jnp.minimum(drawn, layers - 1), self.styles)
        return found


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> growing.GrowingGAN:
    """Build the GAN of `config`. Raises UserError."""
    model, shape, own = config.model, tuple(config.model.image_shape), growing.of(config)
    growing.check(config, own, mesh, model.stddev_group)
    widths = widths_of(model.fmap_base, model.fmap_max, own.last)
    if min(widths) < 1:
        raise UserError(f"model.fmap_base {model.fmap_base} leaves no channels to images of {shape[0]} pixels")
    dtype, remat, size = jnp.dtype(config.dtype), config.remat == "blocks", model.num_classes
    units = (model.mapping_dim or model.dim_w,) * (model.mapping_layers - 1)
    mapping = Mapping((*units, model.dim_w), size, model.mapping_lr)
    synthesis = Synthesis(shape, widths, own.first, model.noise, dtype, remat)
    G = Generator(mapping, synthesis, model.w_decay)
    D = Discriminator(shape, widths, own.first, 0, dtype, remat, group=model.stddev_group, smooth=True, by_class=size)
    gan = adversarial.build(
        config,
        mesh,
        G,
        D,
        image_shape=shape,
        family=GrowingStyleGAN,
        mixed=False,
        growth=own,
        styles=synthesis.styles,
        dim_w=model.dim_w,
        style_mixing=model.style_mixing,
    )
    assert isinstance(gan, growing.GrowingGAN)
    return growing.with_rates(gan)
