"""CycleGAN: two generators between two sets of images, each against a discriminator (Zhu et al. 2017).

    G_A: A to B    residual translator, instance norm        D_A: patches of B, real or by G_A
    G_B: B to A    the same                                  D_B: patches of A, real or by G_B

A step is one update of both generators, then one of both discriminators, which see the fakes from before that update, or
older ones from a pool. D_A is G_A's discriminator, as in pytorch-CycleGAN-and-pix2pix.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax.family import Family, Nets, Update
from biggan_jax.losses import Loss
from biggan_jax.models import image_pool
from biggan_jax.types import Batch, Image, Metrics


def distance(a: Image, b: Image) -> jax.Array:
    """The mean absolute difference."""
    return jnp.abs(a - b).mean()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN(Family):
    """Networks G_A(image of A), G_B(image of B), D_A(image of B), D_B(image of A).

    The real data of a step are image [B, H, W, C] and other [B, H, W, C]: one of A and one of B, which are no pair.

    loss: of maps of logits, with strengths g_weight and d_weight; 2 and 1 with least squares, whose terms are halved, are the
    original's. cycle_a, cycle_b: strengths of the distance from A over B to A, and from B over A to B.
    identity: strength, times the cycle's, of what G_A does to an image of B and G_B to one of A. pool: images kept of each
    generator. batch_size: images of each set in a step.
    """

    loss: Loss
    g_weight: float = 2.0
    d_weight: float = 1.0
    cycle_a: float = 10.0
    cycle_b: float = 10.0
    identity: float = 0.5
    pool: int = 50
    batch_size: int = 1
    other_shape: tuple[int, ...] = ()

    def initial_extra(self) -> dict[str, Any]:
        shapes = {"A": self.other_shape or self.image_shape, "B": self.image_shape}
        shown = {f"shown_{name}": jnp.zeros((self.batch_size, *shape)) for name, shape in shapes.items()}
        return shown | {f"pool_{name}": image_pool.empty(self.pool, shape) for name, shape in shapes.items()}

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(("G_A", "G_B"), self.generator_loss, "g"),
            Update(("D_A", "D_B"), self.discriminator_loss, "d"),
        )

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
        for i, (name, fake) in enumerate((("A", fake_b), ("B", fake_a))):
            pool, seen = image_pool.exchange(nets.extra[f"pool_{name}"], fake, jax.random.fold_in(key, i))
            nets.extra |= jax.lax.stop_gradient({f"pool_{name}": pool, f"shown_{name}": seen})
        loss = jnp.stack([*metrics.values()]).sum()
        return loss, {"g_loss": loss} | {f"g_{name}": value for name, value in metrics.items()}

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss of real images and of those that the generators' update left."""
        metrics = {}
        for name, real in (("A", batch["other"]), ("B", batch["image"])):
            of_real, of_fake = self.loss.discriminator(
                nets(f"D_{name}", real), nets(f"D_{name}", nets.extra[f"shown_{name}"])
            )
            metrics[f"d_D_{name}"] = self.d_weight * (of_real + of_fake)
        loss = metrics["d_D_A"] + metrics["d_D_B"]
        return loss, {"d_loss": loss} | metrics
