"""pix2pix: a U-Net from one image of a pair to the other, against a discriminator of patches (Isola et al. 2017).

    G: A to B      U-Net, batch norm, dropout in place of latents        D: patches of (A, B), B real or by G

A step is one update of D, then one of G.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.family import Nets, Update
from biggan_jax.models import translation
from biggan_jax.models.cyclegan import distance
from biggan_jax.models.translation import Translation
from biggan_jax.types import Array, Batch, Image, Metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pix2Pix(Translation):
    """Networks G(image of A) and D(A and B joined in their channels). Images of A and B are pairs.

    l1: strength of the distance from B.

    Difference: dropout draws other masks in G's update than in D's; the original shows both the same image.
    """

    l1: float = 100.0
    matched = True

    @property
    def translations(self) -> Mapping[str, str]:
        return {"AtoB": "G"}

    def columns(self, translate: Callable[[str, Image], Image], a: Image, b: Image) -> dict[str, Image]:
        return {"A": a, "A to B": translate("AtoB", a), "B": b}

    def updates(self) -> tuple[Update, ...]:
        return Update(("D",), self.discriminator_loss), Update(("G",), self.generator_loss)

    def discriminate(self, nets: Nets, a: Image, b: Image) -> Array:
        """D's map of logits for pairs."""
        return nets("D", jnp.concatenate([a, b], axis=-1))

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss of generated pairs and of real ones. G's running statistics stay: its own update moves them."""
        a, b = batch["image"], batch["other"]
        fake = self.discriminate(nets, a, nets("G", a, keep=False))
        real_loss, fake_loss = self.loss.discriminator(self.discriminate(nets, a, b), fake)
        metrics = {"d_loss_real": real_loss, "d_loss_fake": fake_loss}
        return self.d_weight * (real_loss + fake_loss), {"d_loss": self.d_weight * (real_loss + fake_loss)} | metrics

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss by D, and the distance from the other image of the pair."""
        a, b = batch["image"], batch["other"]
        fake = nets("G", a)
        adversarial = self.g_weight * self.loss.generator(self.discriminate(nets, a, fake))
        l1 = self.l1 * distance(fake, b)
        return adversarial + l1, {"g_loss": adversarial + l1, "g_adversarial": adversarial, "g_l1": l1}


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> Translation:
    """Build the pix2pix of `config`. Raises UserError for settings that do not fit each other."""
    a, b = config.model.input_channels, tuple(config.model.image_shape)[-1]
    shapes = {"G": (a, b), "D": (a + b, 0)}
    return translation.build(config, mesh, Pix2Pix, shapes, sampled="G", l1=config.model.l1)
