"""CycleGAN: two generators between two sets of images, each against a discriminator (Zhu et al. 2017).

    G_A: A to B    residual translator, instance norm        D_A: patches of B, real or by G_A
    G_B: B to A    the same                                  D_B: patches of A, real or by G_B

A step is one update of both generators, then one of both discriminators, which see the fakes from before that update, or
older ones from a pool. With microbatches the pool takes the images of one microbatch after another's. D_A is G_A's
discriminator, as in pytorch-CycleGAN-and-pix2pix.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.family import Nets, Update
from biggan_jax.models import image_pool, translation
from biggan_jax.models.translation import Translation
from biggan_jax.types import Batch, Image, Metrics, UserError


def distance(a: Image, b: Image) -> jax.Array:
    """The mean absolute difference."""
    return jnp.abs(a - b).mean()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN(Translation):
    """Networks G_A(image of A), G_B(image of B), D_A(image of B), D_B(image of A).

    The two images of a step's real data are no pair.

    g_weight, d_weight: 2 and 1 with least squares, whose terms are halved, are the original's.
    cycle_a, cycle_b: strengths of the distance from A over B to A, and from B over A to B. identity: strength, times the
    cycle's, of what G_A does to an image of B and G_B to one of A. pool: images kept of each generator. batch_size: images of
    each set in a step.
    """

    sampled: str = "G_A"
    g_weight: float = 2.0
    d_weight: float = 1.0
    cycle_a: float = 10.0
    cycle_b: float = 10.0
    identity: float = 0.5
    pool: int = 50
    batch_size: int = 1

    @property
    def translations(self) -> Mapping[str, str]:
        return {"AtoB": "G_A", "BtoA": "G_B"}

    def columns(self, translate: Callable[[str, Image], Image], a: Image, b: Image) -> dict[str, Image]:
        fake_b, fake_a = translate("AtoB", a), translate("BtoA", b)
        return {
            **{"A": a, "A to B": fake_b, "A to B to A": translate("BtoA", fake_b)},
            **{"B": b, "B to A": fake_a, "B to A to B": translate("AtoB", fake_a)},
        }

    def initial_extra(self) -> dict[str, Any]:
        # Pool A has the images of G_A, which are of B.
        shapes = {"A": self.image_shape, "B": self.input_shape}
        shown = {f"shown_{name}": jnp.zeros((self.batch_size, *shape)) for name, shape in shapes.items()}
        return shown | {f"pool_{name}": image_pool.empty(self.pool, shape) for name, shape in shapes.items()}

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(("G_A", "G_B"), self.generator_loss, "g", self.places),
            Update(("D_A", "D_B"), self.discriminator_loss, "d", self.places),
        )

    def places(self, key: jax.Array, batch_size: int) -> Batch:
        """Return the place of each image in the batch, so that a microbatch finds its own among those that D will see."""
        return {"place": jnp.arange(batch_size)}

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Both generators' loss. Their images go into the pools; what the discriminators will see into `extra`."""
        a, b = batch["image"], batch["other"]
        metrics: Metrics = {}
        if self.identity:
            metrics["idt_A"] = self.cycle_b * self.identity * distance(nets("G_A", b), b)
            metrics["idt_B"] = self.cycle_a * self.identity * distance(nets("G_B", a), a)
        fake_b, fake_a = nets("G_A", a), nets("G_B", b)
        metrics["cycle_A"] = self.cycle_a * distance(nets("G_B", fake_b), a)
        metrics["cycle_B"] = self.cycle_b * distance(nets("G_A", fake_a), b)
        metrics["G_A"] = self.g_weight * self.loss.generator(nets("D_A", fake_b))
        metrics["G_B"] = self.g_weight * self.loss.generator(nets("D_B", fake_a))
        place = sharding.gather(batch["place"], self.mesh)
        for i, (name, fake) in enumerate((("A", fake_b), ("B", fake_a))):
            # The pool takes images one by one, on every device.
            fake = sharding.gather(fake, self.mesh)
            pool, seen = image_pool.exchange(nets.extra[f"pool_{name}"], fake, jax.random.fold_in(key, i))
            shown = nets.extra[f"shown_{name}"].at[place].set(seen)
            nets.extra |= jax.lax.stop_gradient({f"pool_{name}": pool, f"shown_{name}": shown})
        loss = jnp.stack([*metrics.values()]).sum()
        return loss, {"g_loss": loss} | {f"g_{name}": value for name, value in metrics.items()}

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss of real images and of those that the generators' update left."""
        metrics = {}
        for name, real in (("A", batch["other"]), ("B", batch["image"])):
            fake = sharding.constrain_batch(nets.extra[f"shown_{name}"][batch["place"]], self.mesh)
            of_real, of_fake = self.loss.discriminator(nets(f"D_{name}", real), nets(f"D_{name}", fake))
            metrics[f"d_D_{name}"] = self.d_weight * (of_real + of_fake)
        loss = metrics["d_D_A"] + metrics["d_D_B"]
        return loss, {"d_loss": loss} | metrics


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> Translation:
    """Build the CycleGAN of `config`. Raises UserError for settings that do not fit each other."""
    model = config.model
    a, b = model.input_channels, tuple(model.image_shape)[-1]
    if model.identity and a != b:
        raise UserError(f"model.identity={model.identity:g} shows an image of B to the network of A; set it to 0")
    shapes = {"G_A": (a, b), "G_B": (b, a), "D_A": (b, 0), "D_B": (a, 0)}
    strengths = {"cycle_a": model.cycle_a, "cycle_b": model.cycle_b, "identity": model.identity}
    more = {"pool": model.pool, "batch_size": config.batch_size}
    return translation.build(config, mesh, CycleGAN, shapes, sampled="G_A", **strengths, **more)
