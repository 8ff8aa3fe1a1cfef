"""Minimal families for tests; each needs one feature that BigGAN does not."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from biggan_jax import config as configs
from biggan_jax import losses, models
from biggan_jax.family import Family, Network, Update
from biggan_jax.gan import GAN
from biggan_jax.models import adversarial, optimizers
from biggan_jax.types import Condition
from tests.configs import tiny

HINGE, SHAPE = losses.LOSSES["hinge"], (8, 8, 3)


class G(nn.Module):
    """Map z and a label to an image by two dense layers, optionally with batch norm or added noise."""

    shape: tuple[int, ...]
    num_classes: int = 0
    batch_norm: bool = False
    noise: bool = False

    @nn.compact
    def __call__(self, z, y=None, *, train=False):
        if self.num_classes:
            z = jnp.concatenate([z, jax.nn.one_hot(y, self.num_classes) if y.ndim == 1 else y], axis=-1)
        h = nn.Dense(16, name="hidden")(z)
        if self.batch_norm:
            h = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(h)
        if self.noise:
            h = h + self.param("strength", nn.initializers.ones, ()) * jax.random.normal(
                self.make_rng("noise"), h.shape
            )
        x = jnp.tanh(nn.Dense(math.prod(self.shape), name="linear")(nn.relu(h)))
        return x.reshape(-1, *self.shape)


class D(nn.Module):
    """Map an image and a label to a logit and, if `outputs` is above 1, to class logits.

    group: size of a group of consecutive examples, whose standard deviation is a feature (Karras et al. 2018). No group
    crosses devices if each device's part of the batch is a multiple of the group.
    """

    num_classes: int = 0
    batch_norm: bool = False
    outputs: int = 1
    group: int = 0

    @nn.compact
    def __call__(self, x, y=None, *, train=False):
        h = x.reshape(x.shape[0], -1)
        if self.num_classes:
            h = jnp.concatenate([h, jax.nn.one_hot(y, self.num_classes) if y.ndim == 1 else y], axis=-1)
        h = nn.Dense(16, name="hidden")(h)
        if self.batch_norm:
            h = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(h)
        if self.group and len(h) > 1:
            deviation = jnp.sqrt(h.reshape(-1, self.group, 16).var(1, keepdims=True) + 1e-8).mean(2, keepdims=True)
            h = h + jnp.broadcast_to(deviation, (len(h) // self.group, self.group, 1)).reshape(len(h), 1)
        out = nn.Dense(self.outputs, name="linear")(nn.leaky_relu(h))
        return out[:, 0] if self.outputs == 1 else (out[:, 0], out[:, 1:])


def pair(config, mesh, *, shape=SHAPE, g=None, d=None, **more):
    """A GAN of the two modules above."""
    classes = config.model.num_classes
    generator, discriminator = G(shape, classes, **(g or {})), D(classes, **(d or {}))
    return adversarial.build(config, mesh, generator, discriminator, image_shape=shape, **more)


def dense(config, mesh=None):
    """A GAN that needs of the engine what BigGAN needs: classes, batch norm in G, spectral norm in both networks.

    Tests of the engine use it in place of BigGAN, for which XLA needs ten times as long. config: as of `dense_config`.
    """
    return pair(config, mesh, shape=config.model.image_shape, g={"batch_norm": True})


def dense_section():
    keys = {"image_shape": (16, 16, 3), "num_classes": 10, "dim_z": 12, "init": "normal"}
    return keys | {"g_spectral_norm": True, "d_spectral_norm": True}


def dense_config():
    """Return the config of tests/configs/tiny.py, with `model` of the family dense."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "dense", dense_section)
        c = configs.base("dense")
    c.update({name: value for name, value in tiny.get_config().items() if name != "model"})
    return c


class TwoOutputs(GAN):
    """D returns a logit and logits of classes (Odena et al. 2017)."""

    def logit_of(self, output):
        return output[0]

    def discriminator_loss(self, nets, batch, key):
        fake = nets("G", batch["z"], batch["fake_label"])
        (real, real_class), (fake, _) = self.discriminate_both(
            nets, batch["image"], batch["label"], fake, batch["fake_label"], key
        )
        classes = optax.softmax_cross_entropy_with_integer_labels(real_class, batch["label"]).mean()
        return sum(HINGE.discriminator(real, fake)) + classes, {"d_classes": classes}

    def generator_loss(self, nets, batch, key):
        fake = nets("G", batch["z"], batch["fake_label"])
        logits, classes = self.discriminate(nets, fake, batch["fake_label"], key)
        classes = optax.softmax_cross_entropy_with_integer_labels(classes, batch["fake_label"]).mean()
        return HINGE.generator(logits) + classes, {"g_classes": classes}


PAIRS = losses.Loss(
    lambda real, fake: (jax.nn.softplus(fake - real).mean(), jnp.zeros(())),
    lambda real, fake: jax.nn.softplus(real - fake).mean(),
    relative=True,
)
"""Relativistic pairing (Jolicoeur-Martineau 2018)."""


class LazyPenalty(GAN):
    """The gradient penalty of WGAN-GP (Gulrajani et al. 2017) as a separate update, every 4th step."""

    def updates(self):
        *first, last = super().updates()
        return *first, Update(("D",), self.penalty, "gp", self.draw, every=4), last

    def penalty(self, nets, batch, key):
        fake = nets("G", batch["z"], batch["fake_label"])
        share = jax.random.uniform(key, (len(fake),) + (1,) * (fake.ndim - 1))
        mixed = share * batch["image"] + (1 - share) * fake
        of_mixed = lambda x: nets("D", x, batch["label"], keep=False).sum()
        norm = jnp.sqrt(jnp.sum(jnp.square(jax.grad(of_mixed)(mixed)), axis=tuple(range(1, mixed.ndim))) + 1e-12)
        return 10 * jnp.square(norm - 1).mean(), {}


class OwnState(GAN):
    """Keeps a running mean of D's logits for real images, like the anchors of LeCam regularization."""

    def initial_extra(self):
        return {"anchor": jnp.zeros(())}

    def discriminator_loss(self, nets, batch, key):
        loss, metrics = super().discriminator_loss(nets, batch, key)
        nets.extra["anchor"] = 0.9 * nets.extra["anchor"] + 0.1 * jax.lax.stop_gradient(metrics["d_real"])
        return loss + 0.1 * jnp.square(metrics["d_real"] - nets.extra["anchor"]), metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoPairs(Family):
    """Two generators and two discriminators; the generators, trained together, also agree with each other."""

    def updates(self):
        of_d = lambda i: lambda nets, batch, key: self.d_loss(nets, batch, i)
        return (
            *(Update((f"D_{i}",), of_d(i), draw=self.draw) for i in "AB"),
            Update(("G_A", "G_B"), self.g_loss, "g", self.draw),
        )

    def draw(self, key, batch_size):
        return {"z": self.latents(key, batch_size)[0]}

    def d_loss(self, nets, batch, i):
        return sum(HINGE.discriminator(nets(f"D_{i}", batch["image"]), nets(f"D_{i}", nets(f"G_{i}", batch["z"])))), {}

    def g_loss(self, nets, batch, key):
        a, b = nets("G_A", batch["z"]), nets("G_B", batch["z"])
        agree = jnp.abs(a - b).mean()
        return HINGE.generator(nets("D_A", a)) + HINGE.generator(nets("D_B", b)) + agree, {"agreement": agree}


def two_pairs(config, mesh):
    adam = optimizers.adam(config.optimizer.g_lr, config.optimizer)
    z, x = (lambda key: (jnp.zeros((1, config.model.dim_z)),)), (lambda key: (jnp.zeros((1, *SHAPE)),))
    networks = {f"G_{i}": Network(G(SHAPE), adam, z) for i in "AB"} | {f"D_{i}": Network(D(), adam, x) for i in "AB"}
    return TwoPairs(
        networks=networks,
        averaged=("G_A", "G_B"),
        sampled="G_A",
        image_shape=SHAPE,
        dim_z=config.model.dim_z,
        condition=Condition(),
        **adversarial.execution(config, mesh),
    )


def section(shape=SHAPE, num_classes=0):
    return lambda: {"image_shape": shape, "num_classes": num_classes, "dim_z": 4}


FAMILIES = {
    "batch_norm_in_d": (functools.partial(pair, d={"batch_norm": True}), section()),
    "no_norm_in_g": (pair, section()),
    "noise_inputs": (functools.partial(pair, g={"noise": True}), section()),
    "one_channel_not_square": (functools.partial(pair, shape=(8, 12, 1)), section((8, 12, 1))),
    "vectors": (functools.partial(pair, shape=(2,)), section((2,))),
    "two_outputs": (functools.partial(pair, d={"outputs": 6}, family=TwoOutputs), section(num_classes=5)),
    "statistics_of_groups": (functools.partial(pair, d={"group": 2}, mixed=False), section()),
    "loss_of_pairs": (functools.partial(pair, loss=PAIRS), section()),
    "lazy_penalty": (functools.partial(pair, family=LazyPenalty), section()),
    "own_state": (functools.partial(pair, family=OwnState), section()),
    "two_pairs": (two_pairs, section()),
    "batch_norm_in_g": (functools.partial(pair, g={"batch_norm": True}), section(num_classes=5)),
}
"""Name to (build, section of config keys)."""


def registered(name: str, patch: pytest.MonkeyPatch):
    """Make the family known while `patch` lasts; return a config of it, for batches of 8."""
    build, keys = FAMILIES[name]
    patch.setitem(models.FAMILIES, name, build)
    patch.setitem(configs.SECTIONS, name, keys)
    c = configs.base(name)
    c.batch_size = 8
    return c
