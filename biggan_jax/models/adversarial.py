"""Build a GAN from a config and two modules."""

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax import latents, regularizers, schedules
from biggan_jax.conditioning import CLASS_LOSSES
from biggan_jax.config import choose
from biggan_jax.family import Network
from biggan_jax.gan import GAN
from biggan_jax.layers import initializers, spectral
from biggan_jax.losses import LOSSES
from biggan_jax.models import augmentation, idle
from biggan_jax.models.heads import Head
from biggan_jax.models.optimizers import optimizer
from biggan_jax.penalties import clip
from biggan_jax.regularizers import Classes
from biggan_jax.state import init_shapes
from biggan_jax.types import Condition, Label, Latent, Params, UserError


def build(
    config: ml_collections.ConfigDict,
    mesh: Mesh | None,
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    image_shape: tuple[int, ...],
    family: type[GAN] = GAN,
    head: Head | None = None,
    redraw: Callable[[Params, jax.Array], Params] | None = None,
    lazy: Mapping[str, int] | None = None,
    example_label: Label | None = None,
    **fields,
) -> GAN:
    """Return the GAN of two modules G(z, y) and D(x, y), with the settings of `config`. Raises UserError.

    Args:
        family: GAN, or a subclass with losses of its own.
        head: that of D, if it ends in heads.apply_head.
        redraw: draws the initial weights of a network; by default model.init decides, if the family has that key.
        lazy: networks with an update of penalties of their own in each so many steps, for which Adam is corrected; see optimizer.
        example_label: of one image, as the networks take it; by default of the condition that `config` gives.
        fields: further fields of the family, in place of what `config` gives.
    """
    model, regularizer, lazy = config.model, config.regularizer, lazy or {}
    check_keys(config)
    idle.refuse(config, head)
    check_shape(image_shape)
    prior, dim_z = model.get("prior", "normal"), model.get("dim_z", 0)
    latents.check_prior(prior, dim_z)
    condition = condition_of(config)
    init = model.get("init", "orthogonal")
    if redraw is None:
        choose(initializers.INITIALIZERS, "model.init", init)
        redraw = functools.partial(_redraw, init)

    def example_latents(key: jax.Array) -> tuple[Latent, Label]:
        z_key, y_key = jax.random.split(key)
        z = latents.draw(prior, z_key, 1, dim_z)
        if example_label is not None:
            return z, example_label
        if condition.kind == "vector":
            return z, jnp.zeros((1, condition.size))
        return z, jax.random.randint(y_key, (1,), 0, max(condition.size, 1))

    networks = {
        "G": Network(
            generator,
            optimizer(config, config.optimizer.g_lr, lazy=lazy.get("G", 0)),
            example_latents,
            g_rule(model),
            redraw,
        ),
        "D": Network(
            discriminator,
            optimizer(config, config.optimizer.d_lr, config.d_steps, lazy.get("D", 0)),
            lambda key: (jnp.zeros((1, *image_shape)), example_latents(key)[1]),
            spectral.kernels_and_embeddings if model.get("d_spectral_norm", False) else spectral.no_weights,
            redraw,
            functools.partial(clip, bound=regularizer.clip) if regularizer.clip else None,
        ),
    }
    gan = family(
        **{
            "networks": networks,
            "image_shape": image_shape,
            "condition": condition,
            "dim_z": dim_z,
            "prior": prior,
            "loss": choose(LOSSES, "loss", config.loss),
            "d_steps": config.d_steps,
            "d_chunks": config.d_chunks,
            "g_ortho": config.regularizer.g_ortho,
            "d_ortho": config.regularizer.d_ortho,
            "ortho_factor": config.regularizer.ortho_factor,
            "classes": classes_of(config, head),
            "g_batch": config.g_batch,
            "g_real": config.g_real,
            "labels": config.condition.labels,
            "penalties_see": regularizer.see,
            "dequantize": config.data.dequantize,
            **regularizers.from_config(regularizer, schedules.of(config, "penalties")),
            **augmentation.from_config(config),
            "spectral_eval": model.get("spectral_eval", "step"),
            "spectral_eps": model.get("spectral_eps", 1e-4),
            "spectral_iterations": model.get("spectral_iterations", 1),
            **execution(config, mesh),
            **fields,
        }
    )
    check(gan)
    if gan.d_chunks > 1:
        gan.check_chunks(init_shapes(gan).networks["D"].variables)
    return gan


def condition_of(config: ml_collections.ConfigDict) -> Condition:
    """Return what images are conditioned on: classes, a vector of real numbers, or nothing."""
    if config.model.get("condition_dim", 0) and config.model.get("num_classes", 0):
        raise UserError("model.num_classes and model.condition_dim are two conditions; set one of them to 0")
    if config.model.get("condition_dim", 0):
        return Condition("vector", config.model.condition_dim)
    return Condition("classes", config.model.num_classes) if config.model.get("num_classes", 0) else Condition()


def differentiates_twice(config: ml_collections.ConfigDict) -> bool:
    """Return whether gradients of D by its images are differentiated, as gradient penalties and LOGAN do."""
    return idle.penalises_gradients(config) or config.regularizer.logan > 0


def head_of(config: ml_collections.ConfigDict) -> Head:
    """Return the head of D that the config asks for. Raises UserError for one that the condition or the loss cannot take."""
    own, condition, loss = config.condition, condition_of(config), choose(LOSSES, "loss", config.loss)
    kind = own.d if condition.size else "none"
    if own.d not in ("projection", "none") and condition.kind != "classes":
        works = "projection, which takes real numbers" if condition.size else "none"
        raise UserError(f"condition.d={own.d} needs classes, but model.num_classes is 0; use condition.d={works}")
    if loss.of_classes != (kind == "multi_hinge"):
        raise UserError(
            f"loss={config.loss} and condition.d={own.d} do not fit: multi_hinge is a loss and a head, used together"
        )
    features = bool(config.regularizer.feature_matching)
    return Head(kind, condition.size, own.embed_dim, features, normalize=kind == "ac" and own.normalize)


def classes_of(config: ml_collections.ConfigDict, head: Head | None) -> Classes:
    """Return the weights of the class losses; all are 0 if D's head has no class loss."""
    own = config.condition
    if head is None or head.kind not in CLASS_LOSSES:
        return Classes(head.kind if head else "none")
    return Classes(head.kind, own.d_weight, own.d_fake_weight, own.g_weight, own.temperature, own.margin)


def g_rule(model: ml_collections.ConfigDict) -> spectral.Rule:
    """Return which of G's weights are normalised: all kernels, but those of conditional batch norm if the family says so."""
    if not model.get("g_spectral_norm", False):
        return spectral.no_weights
    if model.get("g_spectral_tables", True):
        return spectral.kernels
    return lambda path: path[-1] == "kernel" and path[-2] not in ("gain", "offset")


def check_shape(image_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the shape is (height, width, channels) or (n,)."""
    if len(image_shape) not in (1, 3) or min(image_shape) < 1:
        raise UserError(f"model.image_shape {image_shape} is neither (height, width, channels) nor (n,) for vectors")


FLOAT32 = "dtype", ("float32",), "computes in float32 alone"
NO_BLOCKS = "remat", ("none", "full"), "does not recompute blocks alone; use full or none"
TAKES = dict.fromkeys(
    ("gan", "cgan", "dcgan", "wgan", "wgan_gp", "cogan", "vgan", "text_to_image"), (FLOAT32, NO_BLOCKS)
) | dict.fromkeys(("sngan", "sagan", "cyclegan", "pix2pix"), (NO_BLOCKS,))
"""By family: keys of all families that it restricts, the values that it takes, and why. Other families take all values."""


def check_keys(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for a value that the family does not take; see TAKES."""
    family = config.model.family
    for key, values, why in TAKES.get(family, ()):
        if config[key] not in values:
            raise UserError(f"{key}={config[key]}: model.family {family} {why}")


def check(gan: GAN) -> None:
    """Raise UserError for parts that do not fit each other."""
    shape = len(gan.image_shape)
    for term in gan.added:
        if shape != 3 and term.name in ("cr", "cr_fake"):
            raise UserError(f"regularizer.{term.name} mirrors and shifts images, but the data are vectors")
    if gan.augment_policy and shape != 3:
        raise UserError("augment.policy changes images, but the data are vectors; use augment.policy=()")
    if gan.ada and shape != 3:
        raise UserError("augment.ada changes images, but the data are vectors; use augment.ada=()")
    if gan.dequantize and shape != 3:
        raise UserError("data.dequantize adds noise below a grey level, but the data are vectors; unset it")
    if gan.frames and (gan.augment_policy or gan.ada):
        raise UserError("augment.policy and augment.ada change single pictures, but the data are clips; unset them")
    if gan.frames and any(term.name in ("cr", "cr_fake") for term in gan.added):
        raise UserError("regularizer.cr and cr_fake shift single pictures, but the data are clips; set them to 0")
    if gan.g_batch > 1 and (gan.loss.relative or gan.condition.kind == "vector"):
        raise UserError(
            f"g_batch={gan.g_batch}: each fake image is compared with a real one, or has its label; use g_batch=1"
        )
    if gan.g_batch > 1 and gan.labels == "paired":
        raise UserError(
            f"g_batch={gan.g_batch}: condition.labels=paired gives each fake image a real one's; use g_batch=1"
        )
    if gan.g_real == "own" and not gan.compares:
        raise UserError(
            "g_real=own has no effect: G's loss compares with no real images; use loss=relativistic_pairs, for example"
        )
    if gan.loss.relative and gan.top_k:
        raise UserError("regularizer.top_k needs a loss of single images, not one of real and fake ones")
    if gan.networks["D"].constrain and gan.networks["D"].normalized is not spectral.no_weights:
        raise UserError("regularizer.clip bounds weights that spectral normalisation scales again; use one of the two")
    if gan.logan and gan.prior != "uniform":
        raise UserError(f"regularizer.logan clips latents to [-1, 1], but model.prior is {gan.prior}; use uniform")


def execution(config: ml_collections.ConfigDict, mesh: Mesh | None) -> dict:
    """Return the fields of a Family that determine how steps are computed, and its averages."""
    return {
        "ema_decay": config.ema.decay,
        "ema_decay_over_steps": schedules.ema_half_life(config),
        "ema_start": config.ema.start,
        "spectral_advance": config.spectral_advance,
        "microbatches": config.microbatches,
        "mesh": mesh,
        "remat": config.remat == "full",
        "shard_update": config.mesh.shard_update,
        # A loop over convolutions takes XLA minutes to compile for a CPU, and makes them slow there.
        "loops": mesh is not None and mesh.devices.flat[0].platform != "cpu",
    }


def _redraw(name: str, params, key: jax.Array):
    return initializers.redraw(params, name, key)
