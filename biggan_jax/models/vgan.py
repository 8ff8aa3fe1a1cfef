"""VGAN: clips of a foreground that moves before a background that does not (Vondrick et al. 2016; cvondrick/videogan).

    G                                                             D
    z, by two streams that do not share layers                    clip
    background  4x4 to 4 x 4 pixels, then 4x4 /2; tanh            4x4x4 /2, leaky ReLU 0.2
    video       2x4x4 to 2 x 4 x 4, then 4x4x4 /2                 4x4x4 /2, BN, leaky ReLU 0.2, down to 2 x 4 x 4
                foreground f: tanh; mask m: sigmoid               dense, real and fake

A clip is m f + (1 - m) b, the background b in each frame. Batch norm and ReLU follow each layer of G but the last. D's two
outputs pass a softmax: their difference is the logit. G's loss has the mean of the mask, times `mask_l1`. Weights are from
N(0, 0.01), biases 0, gains of batch norm from N(1, 0.02).

With model.first_frame, an encoder of a frame takes the place of z, and the mean absolute difference of the clip's first frame
from it that of the mask. The discriminator sees clips alone.

A clip is one array [T * H, W, C], its frames below each other, so that shards, batches and tools take it as an image.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.family import Family, Nets, Network, Update
from biggan_jax.gan import GAN
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.layers.strided import Double, Expand, Halve
from biggan_jax.losses import LOSSES
from biggan_jax.models import adversarial, translation
from biggan_jax.models.dcgan import gains, leaky
from biggan_jax.models.optimizers import optimizer
from biggan_jax.models.translation import Translation
from biggan_jax.terms import Shown
from biggan_jax.types import Array, Batch, Condition, Image, Label, Latent, Logit, Metrics, UserError


def normal(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Draw weights from N(0, 0.01), in one dimension: XLA compiles draws in five for seconds."""
    return 0.01 * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


OfG = functools.partial(BatchNorm, 1e-5, gain_init=gains)
OfD = functools.partial(BatchNorm, 1e-3, gain_init=gains)


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of a clip: frames of (height, width, channels), and how often the networks halve it."""

    frames: int
    height: int
    width: int
    channels: int
    halvings: int

    @property
    def of_clip(self) -> tuple[int, int, int]:
        """Of the array in which frames are below each other."""
        return self.frames * self.height, self.width, self.channels

    @property
    def of_frame(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def least(self) -> tuple[int, int, int]:
        """(frames, height, width) of the smallest feature map."""
        return self.frames >> self.halvings, self.height >> self.halvings, self.width >> self.halvings


class Generator(nn.Module):
    """z [B, dim_z], or frames [B, H, W, C] with `encodes`, to clips [B, T * H, W, C] in [-1, 1]; the widths halve down to ch.

    phases: see layers.strided.
    """

    shape: Shape
    ch: int = 64
    encodes: bool = False
    phases: bool = True
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(
        self, z: Latent | Image, y: Label | None = None, *, train: bool = False, parts: bool = False
    ) -> Image | tuple[Image, Array]:
        """With `parts`, also return the mask [B, T, H, W, 1] in [0, 1]."""
        shape, last = self.shape, self.shape.halvings - 1
        up, down = (functools.partial(layer, kernel_init=normal, phases=self.phases) for layer in (Double, Halve))
        norm = lambda x, name: nn.relu(OfG(momentum=self.bn_momentum, name=f"{name}_bn")(x, train=train))
        expand = functools.partial(Expand, self.ch << last, kernel_init=normal)
        if self.encodes:
            still = jnp.asarray(z)
            for i in range(shape.halvings):
                still = down(self.ch << i, name=f"encoder_{i}")(still)
                if i:
                    still = OfD(momentum=self.bn_momentum, name=f"encoder_{i}_bn")(still, train=train)
                still = nn.relu(still)
            moving = jnp.moveaxis(expand(shape.least[:1], name="video_0")(still), 3, 1)
        else:
            still = norm(expand(shape.least[1:], name="background_0")(jnp.asarray(z)), "background_0")
            moving = expand(shape.least, name="video_0")(jnp.asarray(z))
        moving = norm(moving, "video_0")
        for i in range(1, shape.halvings):
            still = norm(up(self.ch << last - i, name=f"background_{i}")(still), f"background_{i}")
            moving = norm(up(self.ch << last - i, name=f"video_{i}")(moving), f"video_{i}")
        background = jnp.tanh(up(shape.channels, name="background_out")(still))
        out = up(shape.channels + 1, name="video_out")(moving)  # Two layers in one: the foreground, and last the mask.
        foreground, mask = jnp.tanh(out[..., :-1]), nn.sigmoid(out[..., -1:])
        clip = mask * foreground + (1 - mask) * background[:, None]
        clip = clip.reshape(-1, *shape.of_clip)
        return (clip, mask) if parts else clip


class Discriminator(nn.Module):
    """Clips [B, T * H, W, C] to logits [B]; the widths double from ch."""

    shape: Shape
    ch: int = 64
    phases: bool = True

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Logit:
        x = jnp.asarray(x).reshape(-1, self.shape.frames, *self.shape.of_frame)
        for i in range(self.shape.halvings):
            x = Halve(self.ch << i, normal, self.phases, name=f"conv_{i}")(x)
            x = leaky(OfD(name=f"bn_{i}")(x, train=train) if i else x)
        out = nn.Dense(2, kernel_init=normal, name="linear")(x.reshape(len(x), -1))
        return out[:, 1] - out[:, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGAN(GAN):
    """Networks G(z) and D(clip). mask_l1: strength of the mean of G's mask in its loss."""

    mask_l1: float = 0.1

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        z, y, cost = self._latents_of(nets, batch, key)
        fake, mask = nets("G", z, y, parts=True)
        shown = Shown(None, None, fake, y, z)
        if self.compares:
            shown = shown._replace(real=self._real(batch, jax.random.fold_in(key, 0)), label=batch["label"])
        loss, metrics = self.loss_of_fakes(nets, shown, jax.random.fold_in(key, 0))
        mean = mask.mean()
        return loss + cost + self.mask_l1 * mean, metrics | {"g_mask": mean}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstFrame(Translation):
    """Networks G(frame) and D(clip). A clip's first frame is the domain A, the whole clip is B.

    l1: strength of the distance of G's first frame from the given one.
    """

    l1: float = 10.0
    matched = True

    @property
    def translations(self) -> Mapping[str, str]:
        return {"AtoB": "G"}

    def columns(self, translate: Callable[[str, Image], Image], a: Image, b: Image) -> dict[str, Image]:
        times = [i * (self.frames - 1) // (SHOWN - 1) for i in range(SHOWN)]
        height, fake = self.input_shape[0], translate("AtoB", a)
        of = lambda clip, i: clip[:, i * height : (i + 1) * height]
        return {
            "A": a,
            **{f"A to B, frame {i + 1}": of(fake, i) for i in dict.fromkeys(times)},
            **{f"B, frame {i + 1}": of(b, i) for i in dict.fromkeys(times)},
        }

    def updates(self) -> tuple[Update, ...]:
        return Update(("D",), self.discriminator_loss), Update(("G",), self.generator_loss)

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss of real clips and of generated ones. G's running statistics stay: its own update moves them."""
        real, fake = nets("D", batch["other"]), nets("D", nets("G", batch["image"], keep=False))
        real_loss, fake_loss = self.loss.discriminator(real, fake)
        return real_loss + fake_loss, {"d_loss_real": real_loss, "d_loss_fake": fake_loss}

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss by D, and the distance of the first frame from the given one."""
        given = batch["image"]
        fake = nets("G", given)
        loss = self.loss.generator(nets("D", fake))
        l1 = self.l1 * jnp.abs(fake[:, : given.shape[1]] - given).mean()
        return loss + l1, {"g_adversarial": loss, "g_l1": l1}


SHOWN = 4  # Frames of a clip in the sheets of FirstFrame.


def shape_of(shape: tuple[int, ...], frames: int) -> Shape:
    """Return the shape of clips, of frames (height, width, channels). Raises UserError for one that the networks cannot make."""
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels) of a frame")
    halvings = (min(shape[:2]) // 4).bit_length() - 1
    if halvings < 1 or min(shape[:2]) != 4 << halvings or max(shape[:2]) % (1 << halvings):
        raise UserError(
            f"model.image_shape {shape}: the shorter side of vgan's frames is 8, 16, 32, 64, ... pixels, the longer one a "
            "multiple of a quarter of it"
        )
    if frames % (1 << halvings):
        raise UserError(
            f"model.frames={frames}: with frames of {min(shape[:2])} pixels it must be a multiple of {1 << halvings}"
        )
    return Shape(frames, *shape, halvings)


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> Family:
    """Build the VGAN of `config`. Raises UserError for settings that do not fit each other."""
    model, shape = config.model, shape_of(tuple(config.model.image_shape), config.model.frames)
    idle = {"mask_l1": 0.1, "dim_z": 100, "prior": "normal"} if model.first_frame else {"frame_l1": 10.0}
    for name, default in idle.items():
        if model[name] != default:
            raise UserError(
                f"model.{name}={model[name]} has no effect with model.first_frame={model.first_frame}; leave it at {default}"
            )
    phases = mesh is None or mesh.devices.flat[0].platform == "cpu"
    G = Generator(shape, model.ch, model.first_frame, phases)
    D = Discriminator(shape, model.ch, phases)
    if not model.first_frame:
        keep: Callable = lambda params, key: params
        fields = {"frames": shape.frames, "mask_l1": model.mask_l1, "redraw": keep}
        return adversarial.build(config, mesh, G, D, image_shape=shape.of_clip, family=VGAN, **fields)
    translation.check_keys(config)
    loss = choose(LOSSES, "loss", config.loss)
    if loss.relative or loss.of_classes or not loss.scaled:
        raise UserError(f"loss={config.loss}: model.first_frame takes non_saturating, minimax, least_squares or hinge")
    example = lambda of: lambda key: (jnp.zeros((1, *of)),)
    averages = config.ema.decay > 0 or config.ema.half_life > 0 or config.schedule.ema_half_life
    return FirstFrame(
        networks={
            "G": Network(G, optimizer(config, config.optimizer.g_lr), example(shape.of_frame)),
            "D": Network(D, optimizer(config, config.optimizer.d_lr), example(shape.of_clip)),
        },
        averaged=("G",) if averages else (),
        image_shape=shape.of_clip,
        other_shape=shape.of_frame,
        frames=shape.frames,
        condition=Condition("image", shape.channels),
        loss=loss,
        l1=model.frame_l1,
        **adversarial.execution(config, mesh),
    )
