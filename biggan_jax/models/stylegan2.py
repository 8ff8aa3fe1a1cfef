"""StyleGAN2, with its edition ADA (Karras et al. 2020, "Analyzing and Improving", and "Limited Data").

    G                                              D
    mapping: dense layers from z and embed(y) to w  conv 1x1 from the image
    a learned 4 x 4 map                            blocks: conv 3x3; FIR down, conv 3x3;
    blocks: modulated conv 3x3 with FIR up,            with a skip of FIR down, conv 1x1 (resnet)
        modulated conv 3x3,                        at 4 x 4: minibatch stddev, conv 3x3, dense
        the image: FIR up, + modulated conv 1x1    dense 1 or, with a condition, <dense d, mapping(y)> / sqrt(d)

Each modulated convolution has a style of its own, an affine map of a w; noise follows it, times a learned strength. All rates are
equalized. architecture: skip sums the images of all sizes, resnet the features of neighbouring sizes, orig has neither; D's skip
reads the image at each size. configs/modern has the presets of StyleGAN2-ADA.
"""

import logging
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.layers.equalized import EqualizedConv, EqualizedDense
from biggan_jax.layers.minibatch_stddev import minibatch_stddev
from biggan_jax.layers.modulated import ModulatedConv, clip, leaky_relu
from biggan_jax.layers.resample import smooth_downsample, smooth_upsample
from biggan_jax.models import adversarial
from biggan_jax.models.heads import rematerialised
from biggan_jax.models.mapping import Mapping
from biggan_jax.models.style import PathLength, StyleGAN
from biggan_jax.types import Image, Label, Latent, Logit, UserError

logger = logging.getLogger(__name__)

SMALLEST = 4
HALF = math.sqrt(0.5)
"""Factor of both summands where two branches of equal variance are added."""


class Stage(NamedTuple):
    """All layers of one size of feature maps. dtype: of activations."""

    height: int
    width: int
    channels: int
    dtype: jnp.dtype = jnp.float32

    @property
    def name(self) -> str:
        """block_SIZE, by the shorter side."""
        return f"block_{min(self.height, self.width)}"


class Noise(nn.Module):
    """One map of normal numbers for each image: shape (B, H, W) to [B, H, W, 1].

    A fixed map is kept in the collection `noise`. mix: None for random numbers, or factors [2] of random and of fixed ones.
    """

    @nn.compact
    def __call__(self, shape: tuple[int, ...], mix: jax.Array | None) -> jax.Array:
        fixed = self.variable("noise", "fixed", lambda: jax.random.normal(self.make_rng("params"), shape[1:]))
        random = jax.random.normal(self.make_rng("noise"), (*shape, 1))
        return random if mix is None else mix[0] * random + mix[1] * fixed.value[None, ..., None]


class StyledConv(nn.Module):
    """Modulated convolution of x by w [B, dim_w], noise, bias, leaky ReLU times `gain`. clamp: bound of outputs; 0: none."""

    features: int
    up: bool = False
    noise: bool = True
    clamp: float = 0.0
    per_sample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, mix: jax.Array | None, gain: float = 1.0) -> jax.Array:
        x = ModulatedConv(self.features, up=self.up, per_sample=self.per_sample, name="conv")(x, w)
        if self.noise:
            strength = self.param("noise_strength", nn.initializers.zeros, ())
            x += (strength * Noise(name="noise")(x.shape[:3], mix)).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return leaky_relu(x + bias.astype(x.dtype), math.sqrt(2) * gain, self.clamp * gain)


class ToImage(nn.Module):
    """Modulated 1x1 convolution of x by w, without demodulation, and bias: float32 [B, H, W, channels]."""

    channels: int
    clamp: float = 0.0
    per_sample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        gain = x.shape[-1] ** -0.5
        conv = ModulatedConv(self.channels, 1, False, gain, False, self.per_sample, name="conv")
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return clip(conv(x, w) + bias.astype(x.dtype), self.clamp).astype(jnp.float32)


class SynthesisBlock(nn.Module):
    """(features of the next smaller size, image so far, w's [B, n, dim_w]) to (features, image). None: the smallest size."""

    stage: Stage
    channels: int
    architecture: str
    last: bool
    noise: bool
    clamp: float
    per_sample: bool

    @nn.compact
    def __call__(
        self, x: jax.Array | None, image: jax.Array | None, ws: jax.Array, mix: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        own, size = self.stage, (self.stage.height, self.stage.width)
        layer = lambda name, up=False: StyledConv(own.channels, up, self.noise, self.clamp, self.per_sample, name=name)
        w = lambda i: ws[:, i]
        if x is None:
            constant = self.param("constant", nn.initializers.normal(1.0), (*size, own.channels))
            x = jnp.broadcast_to(constant.astype(own.dtype), (len(ws), *constant.shape))
            x, used = layer("conv_1")(x, w(0), mix), 1
        else:
            x, used, branches = x.astype(own.dtype), 2, self.architecture == "resnet"
            h = layer("conv_0", up=True)(x, w(0), mix)
            h = layer("conv_1")(h, w(1), mix, HALF if branches else 1.0)
            if branches:
                h += HALF * smooth_upsample(EqualizedConv(own.channels, size=1, use_bias=False, name="skip")(x))
            x = h
        image = None if image is None else smooth_upsample(image)
        if self.last or self.architecture == "skip":
            rgb = ToImage(self.channels, self.clamp, self.per_sample, name="to_image")(x, w(used))
            image = rgb if image is None else image + rgb
        return x, image


class Synthesis(nn.Module):
    """w's [B, styles, dim_w] to images [B, H, W, channels]; their values are not bounded. mix: see Noise."""

    stages: tuple[Stage, ...]
    channels: int
    architecture: str = "skip"
    noise: bool = True
    clamp: float = 0.0
    per_sample: bool = False
    remat: bool = False

    @property
    def styles(self) -> int:
        """The w's of an image: one for each 3x3 convolution, one for the last image. Other images use that of the next layer."""
        return 2 * len(self.stages)

    @nn.compact
    def __call__(self, ws: jax.Array, mix: jax.Array | None = None) -> Image:
        block, x, image, first = rematerialised(SynthesisBlock) if self.remat else SynthesisBlock, None, None, 0
        for i, stage in enumerate(self.stages):
            last, convolutions = i == len(self.stages) - 1, 2 if i else 1
            own = block(
                stage, self.channels, self.architecture, last, self.noise, self.clamp, self.per_sample, name=stage.name
            )
            x, image = own(x, image, ws[:, first : first + convolutions + 1], mix)
            first += convolutions
        return image


class Generator(nn.Module):
    """z [B, dim_z] and a condition to images. The moving mean of w is kept in the collection `moving`, with this decay."""

    mapping: Any  # A Mapping, and a Synthesis; or those of another family.
    synthesis: Any
    decay: float = 0.995

    def setup(self):
        self.mean = self.variable("moving", "w", jnp.zeros, (self.mapping.widths[-1],))

    def __call__(
        self, z: Latent, y: Label | None = None, mix: jax.Array | None = None, *, train: bool = False, **options
    ):
        """Return images [B, H, W, channels]. options: see `map`. mix: see Noise."""
        return self.synthesize(self.map(z, y, train=train, **options), mix, train=train)

    def map(
        self,
        z: Latent,
        y: Label | None = None,
        z2: Latent | None = None,
        cutoff: jax.Array | None = None,
        psi: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Return the w's of images, [B, styles, dim_w].

        z2, cutoff: layers from `cutoff` [B] on have the w of z2 (style mixing; Karras et al. 2019, section 3.1). psi [styles]:
        factor of a w's distance from the mean (truncation, App. B). train: the moving mean moves.
        """
        w, styles = self.mapping(z, y), self.synthesis.styles
        if train and not self.is_initializing():
            batch_mean = jax.lax.stop_gradient(w).mean(0)
            self.mean.value = batch_mean + self.decay * (self.mean.value - batch_mean)
        ws = jnp.broadcast_to(w[:, None], (len(w), styles, w.shape[-1]))
        if z2 is not None and cutoff is not None:
            first = jnp.arange(styles) < cutoff[:, None]
            ws = jnp.where(first[..., None], ws, self.mapping(z2, y)[:, None])
        return ws if psi is None else self.mean.value + psi[:, None] * (ws - self.mean.value)

    def synthesize(self, ws: jax.Array, mix: jax.Array | None = None, *, train: bool = False) -> Image:
        """Return the images of w's [B, styles, dim_w]."""
        return self.synthesis(ws, mix)


class DiscriminatorBlock(nn.Module):
    """(features of this size, image) to (features of half the size, image for them). No features: the largest size."""

    stage: Stage
    features: int
    architecture: str
    clamp: float

    @nn.compact
    def __call__(self, x: jax.Array | None, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        own, clamp = self.stage, self.clamp
        if x is None or self.architecture == "skip":
            read = EqualizedConv(own.channels, size=1, name="from_image")(image.astype(own.dtype))
            read = leaky_relu(read, clamp=clamp)
            x = read if x is None else x.astype(own.dtype) + read
        x = x.astype(own.dtype)
        image = smooth_downsample(image) if self.architecture == "skip" else image
        h = leaky_relu(EqualizedConv(own.channels, name="conv_0")(x), clamp=clamp)
        h = EqualizedConv(self.features, resample="smooth_down", name="conv_1")(h)
        if self.architecture != "resnet":
            return leaky_relu(h, clamp=clamp), image
        skip = EqualizedConv(self.features, size=1, use_bias=False, name="skip")(smooth_downsample(x))
        return HALF * skip + leaky_relu(h, math.sqrt(2) * HALF, clamp * HALF), image


class Discriminator(nn.Module):
    """Images and a condition to logits [B].

    stages: from the largest size down. mapping: of the condition; its last width is the length of D's output. group, maps: images of
    a group and channels of the minibatch standard deviation; 0 maps: without it.
    """

    stages: tuple[Stage, ...]
    mapping: Mapping | None = None
    architecture: str = "resnet"
    clamp: float = 0.0
    group: int = 4
    maps: int = 1
    remat: bool = False

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None) -> Logit:
        block, h, image = rematerialised(DiscriminatorBlock) if self.remat else DiscriminatorBlock, None, jnp.asarray(x)
        for stage, smaller in zip(self.stages, self.stages[1:], strict=False):
            h, image = block(stage, smaller.channels, self.architecture, self.clamp, name=stage.name)(h, image)
        features = self.stages[-1].channels
        if self.architecture == "skip":
            h += leaky_relu(EqualizedConv(features, size=1, name=f"image_{SMALLEST}")(image))
        h = h.astype(self.stages[-1].dtype)
        if self.maps:
            h = minibatch_stddev(h, group_of(self.group, len(h)), self.maps)
        h = leaky_relu(EqualizedConv(features, name="conv")(h), clamp=self.clamp).astype(jnp.float32)
        h = leaky_relu(EqualizedDense(features, name="dense")(h.reshape(len(h), -1)))
        length = self.mapping.widths[-1] if self.mapping else 1
        out = EqualizedDense(length, name="linear")(h)
        return jnp.sum(out * self.mapping(None, y), -1) / math.sqrt(length) if self.mapping else out[:, 0]


def group_of(group: int, images: int) -> int:
    """Return the images of a group: `group`, all of them for 0, or the largest divisor of both, since any batch can be split."""
    return math.gcd(min(group or images, images), images)


def stages_of(config: ml_collections.ConfigDict, network: str) -> tuple[Stage, ...]:
    """Return the stages of G ("g") or D ("d"), from the smallest size up."""
    model, (height, width, _) = config.model, config.model.image_shape
    own = lambda key: (model[f"d_{key}"] if network == "d" else 0) or model[key]
    doublings = (min(height, width) // SMALLEST).bit_length() - 1
    first_low = max(doublings + 1 - model.bfloat16_stages, 1)
    stages = []
    for i in range(doublings + 1):
        channels = min(own("channel_base") // (SMALLEST << i), own("channel_max"))
        dtype = jnp.dtype("bfloat16" if i >= first_low else config.dtype)
        stages.append(Stage(height >> doublings - i, width >> doublings - i, channels, dtype))
    return tuple(stages)


def check_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """Return image_shape. Raises UserError for one that cannot be doubled from 4 pixels."""
    shape = tuple(config.model.image_shape)
    if len(shape) != 3:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels), and these networks make images")
    short, long = sorted(shape[:2])
    times = short // SMALLEST
    if short < 2 * SMALLEST or short != SMALLEST << times.bit_length() - 1 or long % times:
        raise UserError(
            f"model.image_shape {shape}: the shorter side must be 8, 16, 32, ..., and the longer one a multiple of a quarter of it"
        )
    return shape


def check(config: ml_collections.ConfigDict, mesh: Mesh | None) -> None:
    """Raise UserError for keys that do not fit each other."""
    model = config.model
    for name, stages in (("", stages_of(config, "g")), ("d_", stages_of(config, "d"))):
        if not all(stage.channels for stage in stages):
            raise UserError(
                f"model.{name}channel_base {model[f'{name}channel_base'] or model.channel_base} leaves no channels at "
                f"{min(model.image_shape[:2])} pixels; it must be at least that"
            )
    last = stages_of(config, "d")[0].channels
    if model.d_stddev_maps and last % model.d_stddev_maps:
        raise UserError(f"model.d_stddev_maps={model.d_stddev_maps} does not divide D's {last} last channels")
    images = config.batch_size // config.microbatches
    wanted, group = min(model.d_stddev_group or images, images), group_of(model.d_stddev_group, images)
    if model.d_stddev_maps and group < wanted:
        what = "model.d_stddev_group=%d does not divide %d, the images that D sees at once: it compares groups of %d"
        logger.warning(what, model.d_stddev_group, images, group)
    parts = model.path_shrink * config.microbatches * (mesh.size if mesh else 1)
    if model.path_length and config.batch_size % parts:
        raise UserError(
            f"model.path_shrink={model.path_shrink}: a batch_size of {config.batch_size} is not a multiple of {parts} "
            "(path_shrink x microbatches x devices); use model.path_shrink=1, or another batch_size"
        )


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError."""
    model, shape, size = config.model, check_shape(config), adversarial.condition_of(config).size
    check(config, mesh)
    g, d, remat = stages_of(config, "g"), stages_of(config, "d")[::-1], config.remat == "blocks"
    w = model.dim_w
    widths = (*(model.mapping_dim or w for _ in range(model.mapping_layers - 1)), w)
    mapping = Mapping(widths, size, model.embed_dim or w, model.mapping_lr)
    synthesis = Synthesis(g, shape[2], model.g_architecture, model.noise, model.clamp, model.per_sample_kernels, remat)
    cmap = model.d_mapping_dim or d[-1].channels
    of_condition = Mapping((cmap,) * model.d_mapping_layers, size, cmap, model.mapping_lr) if size else None
    G = Generator(mapping, synthesis, model.w_decay)
    D = Discriminator(
        d, of_condition, model.d_architecture, model.clamp, model.d_stddev_group, model.d_stddev_maps, remat
    )
    lazy = {"G": model.path_every} | ({"D": config.regularizer.every} if config.regularizer.every > 1 else {})
    path = PathLength(model.path_length, model.path_every, model.path_decay, model.path_shrink)
    return adversarial.build(
        config,
        mesh,
        G,
        D,
        image_shape=shape,
        family=StyleGAN,
        lazy=lazy,
        mixed=not model.d_stddev_maps,
        styles=synthesis.styles,
        dim_w=model.dim_w,
        style_mixing=model.style_mixing,
        path=path if model.path_length else None,
    )
