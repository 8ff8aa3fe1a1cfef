"""What CycleGAN and pix2pix share: how they translate images, and how a config becomes their networks."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.config.defaults import general
from biggan_jax.config.keys import Key
from biggan_jax.family import Family, Network
from biggan_jax.losses import LOSSES, Loss
from biggan_jax.models import adversarial
from biggan_jax.models.optimizers import optimizer
from biggan_jax.models.translators import PatchDiscriminator, ResidualTranslator, UNet
from biggan_jax.types import Condition, Image, Label, Latent, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translation(Family):
    """A family whose generators translate images of one domain to another.

    The real data of a step are image [B, H, W, C] of A and other [B, H, W, C] of B. image_shape: of an image of B.
    other_shape: of an image of A; empty: the same. loss: of maps of logits, with strengths g_weight and d_weight.
    sampled: the generator that sampling, the collapse monitor and exports use. matched: the two images are a pair.
    """

    loss: Loss
    g_weight: float = 1.0
    d_weight: float = 0.5
    other_shape: tuple[int, ...] = ()
    matched = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of an image of A."""
        return self.other_shape or self.image_shape

    def data_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        return {"image": (batch_size, *self.input_shape), "other": (batch_size, *self.image_shape)}

    def inputs(self, z: Latent, y: Label) -> tuple:
        return (y,)  # The condition is the image that is translated.

    def columns(self, translate: Callable[[str, Image], Image], a: Image, b: Image) -> dict[str, Image]:
        """Return the columns of a sheet, by title: images, what becomes of them, and what should.

        translate(direction, images) translates them.
        """
        raise NotImplementedError


WEIGHTS = {"least_squares": (2.0, 1.0)}
"""Loss to the strengths of G's and D's that make it the authors': our least squares are halved, and D's other losses are."""

IDLE = (
    *(
        "g_batch",
        "g_real",
        "d_chunks",
        "freeze_d",
        "spectral_advance",
        "data.dequantize",
        "data.balance",
        "score.every",
    ),
    *("schedule.penalties", "schedule.augment_p", "regularizer.", "condition.", "augment."),
)
"""Keys of all families, or beginnings of keys, that have no effect on families of two domains."""


def check_keys(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for keys that would have no effect."""
    family, given = config.model.family, config.to_dict()
    if config.d_steps != 1:
        raise UserError(f"d_steps={config.d_steps}: model.family {family} updates D once in a step; set d_steps to 1")
    for name, key in general().items():
        if not name.startswith(IDLE):
            continue
        section, _, last = name.rpartition(".")
        value, default = (given[section] if section else given)[last], key.default if isinstance(key, Key) else key
        if value != default:
            raise UserError(f"{name}={value} has no effect with model.family {family}; leave it at {default}")
    adversarial.check_keys(config)


def generator_of(model: ml_collections.ConfigDict, channels: int, dtype: jnp.dtype) -> nn.Module:
    """Return a generator of images of `channels`. dtype: of its activations. Raises UserError for sides that it cannot halve."""
    height, width, _ = model.image_shape
    if model.generator == "resnet":
        if height % 4 or width % 4:
            raise UserError(f"model.image_shape {(height, width)}: model.generator=resnet needs multiples of 4")
        return ResidualTranslator(channels, model.ch, model.blocks, model.g_norm, model.g_dropout, dtype=dtype)
    most = next(n for n in range(9) if n == 8 or height >> n & 1 or width >> n & 1)
    halvings = model.halvings or most
    if halvings > most or halvings < 2:
        fits = f"sides of {height} and {width} pixels can be halved {most} times"
        way = f"give model.image_shape multiples of {1 << max(model.halvings, 2)}"
        raise UserError(f"model.halvings={model.halvings}, model.generator=unet: {fits}; {way}")
    return UNet(halvings, channels, model.ch, model.g_norm, model.g_dropout, dtype=dtype)


def check_discriminator(model: ml_collections.ConfigDict) -> None:
    """Raise UserError for images that are too small for the discriminator's layers."""
    least = 2 ** (model.d_layers + 1) + 2**model.d_layers
    side = min(model.image_shape[:2])
    if side < least:
        raise UserError(
            f"model.d_layers={model.d_layers} needs images of {least} pixels or more, not of {side}; use fewer"
        )


def build(
    config: ml_collections.ConfigDict,
    mesh: Mesh | None,
    family: type[Translation],
    shapes: Mapping[str, tuple[int, int]],
    *,
    sampled: str,
    **fields,
) -> Translation:
    """Return a family of generators, named G..., and discriminators of patches, named D....

    shapes: network to the channels of its images and, of a generator, those that it makes. Raises UserError.
    """
    model = config.model
    shape = tuple(model.image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels), and these networks make images")
    check_keys(config)
    check_discriminator(model)
    loss = choose(LOSSES, "loss", config.loss)
    if loss.relative or loss.of_classes or not loss.scaled:
        raise UserError(f"loss={config.loss}: model.family {model.family} takes least_squares, non_saturating or hinge")
    example = lambda channels: lambda key: (jnp.zeros((1, *shape[:2], channels)),)
    networks, dtype = {}, jnp.dtype(config.dtype)
    for name, (seen, made) in shapes.items():
        module = generator_of(model, made, dtype)
        if name[0] == "D":
            module = PatchDiscriminator(model.d_ch, model.d_layers, model.d_norm, dtype=dtype)
        rate = config.optimizer.g_lr if name[0] == "G" else config.optimizer.d_lr
        networks[name] = Network(module, optimizer(config, rate), example(seen))
    g_weight, d_weight = WEIGHTS.get(config.loss, (1.0, 0.5))
    averages = config.ema.decay > 0 or config.ema.half_life > 0 or config.schedule.ema_half_life
    gan = family(
        networks=networks,
        averaged=tuple(name for name in networks if name[0] == "G") if averages else (),
        image_shape=shape,
        other_shape=(*shape[:2], model.input_channels),
        condition=Condition("image", shapes[sampled][0]),
        sampled=sampled,
        loss=loss,
        g_weight=g_weight,
        d_weight=d_weight,
        **adversarial.execution(config, mesh),
        **fields,
    )
    jax.eval_shape(lambda: [n.module.init(jax.random.key(0), *n.example(jax.random.key(0))) for n in networks.values()])
    return gan
