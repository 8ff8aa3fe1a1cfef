"""The adversarial family: a generator against a discriminator (Goodfellow et al. 2014; Brock et al. 2019, App. C)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax import augment, gradients, penalties
from biggan_jax.family import Family, Moving, Nets, Trees, Update
from biggan_jax.gradients import interleave
from biggan_jax.losses import Loss, accuracy, hinge_active
from biggan_jax.types import Batch, Image, Label, Logit, Metrics, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Family):
    """Networks G(z, y) and D(x, y). A step is d_steps updates of D, one of G, one moving average of G.

    A family whose losses are of another form overrides `discriminator_loss` and `generator_loss`, or `updates`.

    loss: see losses.LOSSES. g_ortho, d_ortho: strength of orthogonal regularization. r1: strength of the gradient penalty.
    d_chunks: parts in which D works through a batch, to save memory. mixed: whether D sees real and fake images in one
    batch; ignored if D has batch statistics: then it sees two batches.
    """

    loss: Loss
    d_steps: int = 1
    d_chunks: int = 1
    mixed: bool = True
    g_ortho: float = 0.0
    d_ortho: float = 0.0
    ortho_factor: float = 4.0
    r1: float = 0.0
    augment_policy: tuple[str, ...] = ()

    @property
    def generator(self) -> nn.Module:
        return self.networks["G"].module

    @property
    def discriminator(self) -> nn.Module:
        return self.networks["D"].module

    @property
    def minibatches(self) -> int:
        return self.d_steps

    def updates(self) -> tuple[Update, ...]:
        """Return the updates of a step: d_steps of D, each on its own minibatch, then one of G."""
        D = Update(
            ("D",), self.discriminator_loss, "d", self.draw, gradient=self._d_in_chunks if self.d_chunks > 1 else None
        )
        G = Update(("G",), self.generator_loss, "g", self.draw, gradient=self._g_through_images)
        if self.d_ortho:
            D = dataclasses.replace(D, penalty=lambda params: self._orthogonal(params["D"], self.d_ortho, "d_ortho"))
        if self.g_ortho:
            G = dataclasses.replace(G, penalty=lambda params: self._orthogonal(params["G"], self.g_ortho, "g_ortho"))
        return *(dataclasses.replace(D, minibatch=i) for i in range(self.d_steps)), G

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """Draw latents and the labels of fake images for the whole batch of an update."""
        z, y = self.latents(key, batch_size)
        return {"z": z, "fake_label": y}

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's loss on real and generated images, with its penalty. batch: image, label, z, fake_label. key: augmentation."""
        fake = nets("G", batch["z"], batch["fake_label"])
        real_and_fake = batch["image"], batch["label"], fake, batch["fake_label"]
        return self.loss_of_images(nets, real_and_fake, jax.random.fold_in(key, 0))

    def loss_of_images(self, nets: Nets, batch: tuple, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's mean loss over (real, label, fake, fake label), with R1 on real images."""
        x, y, fake, fake_y = batch
        key, r1_key = jax.random.split(key)
        real_logits, fake_logits = self.discriminate_both(nets, x, y, fake, fake_y, key)
        real_loss, fake_loss = self.loss.discriminator(real_logits, fake_logits)
        metrics = {
            "d_loss": real_loss + fake_loss,
            "d_loss_real": real_loss,
            "d_loss_fake": fake_loss,
            "d_real": real_logits.mean(),
            "d_fake": fake_logits.mean(),
            "d_accuracy": accuracy(real_logits, fake_logits),
            "d_active": hinge_active(real_logits, fake_logits),
        }
        penalty = 0.0
        if self.r1:
            metrics["d_r1"] = penalties.gradient_penalty(lambda x: self.discriminate(nets, x, y, r1_key, keep=False), x)
            penalty = self.r1 * metrics["d_r1"]
        return real_loss + fake_loss + penalty, metrics

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return G's loss by the current D. batch: z, fake_label; image and label for losses that use real images."""
        fake, y, key = nets("G", batch["z"], batch["fake_label"]), batch["fake_label"], jax.random.fold_in(key, 0)
        if not self.loss.relative:
            return self.loss.generator(self.discriminate(nets, fake, y, key)), {}
        real, fake = self.discriminate_both(nets, batch["image"], batch["label"], fake, y, key)
        return self.loss.generator(real, fake), {}

    def discriminate(self, nets: Nets, x: Image, y: Label, key: jax.Array, *, keep: bool = True) -> Any:
        """Return D's output for images that are first augmented by the policy."""
        return nets("D", augment.apply(x, key, self.augment_policy), y, keep=keep)

    def discriminate_both(self, nets: Nets, x: Image, y: Label, fake: Image, fake_y: Label, key: jax.Array) -> Any:
        """Return D's outputs for real and for fake images, from one interleaved batch or two batches; see `mixed`."""
        if not self.mixed or nets.moving.variables["D"]:
            real_key, fake_key = jax.random.split(key)
            return self.discriminate(nets, x, y, real_key), self.discriminate(nets, fake, fake_y, fake_key)
        out = self.discriminate(nets, interleave(x, fake), interleave(y, fake_y), key)
        pairs = jax.tree.map(lambda o: jnp.moveaxis(o.reshape(-1, 2, *o.shape[1:]), 1, 0), out)
        return jax.tree.map(lambda o: o[0], pairs), jax.tree.map(lambda o: o[1], pairs)

    def logit_of(self, output: Any) -> Logit:
        """Return the logit in D's output, for diagnostics. Override it if D returns more than a logit."""
        return output

    def check_chunks(self, d_variables: Any) -> None:
        """Raise UserError if D needs whole batches, because its examples affect each other. d_variables: D's variables."""
        if self.d_chunks == 1:
            return
        if d_variables:
            what = f"D has statistics of its batch ({', '.join(sorted(d_variables))})"
        elif not self.mixed:
            what = "D compares the images of its batch"
        elif self.loss.relative or self._own_losses:
            what = "the loss is not a mean over images that d_chunks knows of"
        else:
            return
        raise UserError(f"d_chunks={self.d_chunks}: {what}, so its chunks are not its batch; use d_chunks=1")

    def _d_in_chunks(self, family, update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        """Return D's gradient, chunk by chunk. All images are generated at once, since G has batch statistics."""
        nets = Nets(self, weights, moving, key)
        fake = nets("G", batch["z"], batch["fake_label"])

        def of_chunk(chunk, key):
            loss = lambda d_weights: self.loss_of_images(nets.with_weights({"D": d_weights}, key), chunk, key)
            return jax.grad(loss, has_aux=True)(weights["D"])

        real_and_fake = batch["image"], batch["label"], fake, batch["fake_label"]
        grads, metrics = gradients.mean_over_chunks(self, self.d_chunks, of_chunk, real_and_fake, key)
        return {"D": grads}, (nets.moving, metrics)

    @property
    def _own_losses(self) -> bool:
        """Whether a subclass has replaced a loss."""
        names = "discriminator_loss", "generator_loss", "loss_of_images"
        return any(getattr(type(self), name) is not getattr(GAN, name) for name in names)

    def _g_through_images(self, family, update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        """Return G's gradient. Gradients with respect to images pass D in chunks, and are pulled back through G once.

        There are half as many images as in D's update, so half as many chunks, if that is whole. With one chunk it is the
        gradient of the loss, by a program that the TPU compiler makes 0.5 % faster.
        """
        if self.loss.relative or self._own_losses or moving.variables["D"]:
            return gradients.of_loss(family, update, weights, moving, batch, key)
        nets = Nets(self, weights, moving, key)

        def generate(g_weights):
            inner = nets.with_weights({"G": g_weights})
            return inner("G", batch["z"], batch["fake_label"]), inner.moving

        fake, pullback, moving = jax.vjp(generate, weights["G"], has_aux=True)
        chunks = self.d_chunks if self.d_chunks % 2 else self.d_chunks // 2
        score = lambda x, y, key: self.loss.generator(self.discriminate(nets, x, y, key))
        loss, to_fake = gradients.value_and_gradient_in_chunks(self, chunks, score, fake, batch["fake_label"], key)
        return {"G": pullback(to_fake)[0]}, (moving, {"g_loss": loss})

    def _orthogonal(self, params, strength: float, name: str) -> tuple[jax.Array, Metrics]:
        """Orthogonal regularization of raw weights; its gradient is `ortho_factor` (W W^T o (1 - I)) W: 4 is the paper's."""
        with jax.named_scope("penalty"):
            value = strength * (self.ortho_factor / 4) * penalties.orthogonal(params)
            return value, {name: value}
