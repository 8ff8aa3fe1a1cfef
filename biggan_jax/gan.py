"""The adversarial family: a generator against a discriminator (Goodfellow et al. 2014; Brock et al. 2019, App. C)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax import augment, gradients, penalties, regularizers
from biggan_jax.conditioning import CLASS_LOSSES, Output, as_vector
from biggan_jax.family import Family, Moving, Nets, Trees, Update
from biggan_jax.gradients import interleave
from biggan_jax.losses import Loss, accuracy, hinge_active
from biggan_jax.regularizers import TERMS, LatentConsistency, LatentStep, LeCam, Seen, TopK
from biggan_jax.types import Batch, Image, Label, Logit, Metrics, UserError


class Classes(NamedTuple):
    """How the losses use classes: see conditioning. d, d_fake, g: weights of D's loss of real and of fake images, and of G's."""

    head: str = "projection"
    d: float = 0.0
    d_fake: float = 0.0
    g: float = 0.0
    temperature: float = 1.0
    margin: float = 0.98

    def loss(self, output: Output, y: Label) -> jax.Array:
        """The loss of the head; see CLASS_LOSSES."""
        return CLASS_LOSSES[self.head](output, y, temperature=self.temperature, margin=self.margin)


BY_PROJECTION = Classes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Family):
    """Networks G(z, y) and D(x, y). A step is d_steps updates of D, one of G, one moving average of G.

    A family whose losses are of another form overrides `discriminator_loss` and `generator_loss`, or `updates`.

    loss: see losses.LOSSES. g_ortho, d_ortho: strength of orthogonal regularization. terms: (name, strength) of what is
    added to D's loss; see regularizers.TERMS. every: gradient penalties run in an update of their own, each `every`-th step.
    classes: losses of classes. d_chunks: parts in which D works through a batch, to save memory. mixed: whether D sees real
    and fake images in one batch; ignored if D has batch statistics: then it sees two batches. g_batch: images of G's update
    for each of D's. labels: whether the fake images of D's update have uniform labels, or those of the real ones.
    feature_matching: strength. dequantize: real images are x / 128 - 1 + U(0, 1 / 128) for pixels x in 0 ... 255, as in the code of
    WGAN-GP and SNGAN. The others: see regularizers.
    """

    loss: Loss
    d_steps: int = 1
    d_chunks: int = 1
    mixed: bool = True
    g_ortho: float = 0.0
    d_ortho: float = 0.0
    ortho_factor: float = 4.0
    terms: tuple[tuple[str, float], ...] = ()
    every: int = 1
    classes: Classes = BY_PROJECTION
    g_batch: int = 1
    labels: str = "uniform"
    feature_matching: float = 0.0
    dequantize: bool = False
    lecam: LeCam | None = None
    zcr: LatentConsistency | None = None
    logan: LatentStep | None = None
    top_k: TopK | None = None
    augment_policy: tuple[str, ...] = ()

    @property
    def minibatches(self) -> int:
        return self.d_steps

    def initial_extra(self) -> dict[str, Any]:
        """LeCam's moving means of D's logits."""
        return {"lecam": {"real": jnp.zeros(()), "fake": jnp.zeros(())}} if self.lecam else {}

    def updates(self) -> tuple[Update, ...]:
        """Return the updates of a step: d_steps of D, each on its own minibatch, then one of G; lazy penalties follow D's."""
        D = Update(
            ("D",), self.discriminator_loss, "d", self.draw, gradient=self._d_in_chunks if self.d_chunks > 1 else None
        )
        G = Update(("G",), self.generator_loss, "g", self.draw_for_g, gradient=self._g_through_images)
        if self.d_ortho:
            D = dataclasses.replace(D, penalty=lambda params: self._orthogonal(params["D"], self.d_ortho, "d_ortho"))
        if self.g_ortho:
            G = dataclasses.replace(G, penalty=lambda params: self._orthogonal(params["G"], self.g_ortho, "g_ortho"))
        of_d = [dataclasses.replace(D, minibatch=i) for i in range(self.d_steps)]
        if self._lazy:
            of_d.append(Update(("D",), self.lazy_penalties, "d_lazy", self.draw, every=self.every))
        return *of_d, G

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """Draw latents and the labels of fake images for the whole batch of an update."""
        z, y = self.latents(key, batch_size)
        return {"z": z, "fake_label": y}

    def draw_for_g(self, key: jax.Array, batch_size: int) -> Batch:
        """Draw those of G's update, `g_batch` times as many."""
        return self.draw(key, self.g_batch * batch_size)

    def discriminator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's loss on real and generated images, with its terms. batch: image, label, z, fake_label. key: augmentation."""
        z, y, extra = self._latents_of(nets, batch, jax.random.fold_in(key, 1), for_d=True)
        fake = nets("G", z, y)
        key = jax.random.fold_in(key, 0)
        loss, metrics = self.loss_of_images(nets, (self._real(batch, key), batch["label"], fake, y), key)
        if self.zcr:
            near = nets("G", self.zcr.near(z, jax.random.fold_in(key, 2)), y, keep=False)
            outputs = (self.discriminate(nets, x, y, key, keep=False) for x in (fake, near))
            metrics["d_zcr"] = penalties.consistency(*map(regularizers.compared, outputs))
            extra += self.zcr.d * metrics["d_zcr"]
        return loss + extra, metrics

    def loss_of_images(self, nets: Nets, batch: tuple, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's mean loss over (real, label, fake, fake label), with the terms that are not lazy."""
        x, y, fake, fake_y = batch
        key, term_key = jax.random.split(key)
        real_out, fake_out = self.discriminate_both(nets, x, y, fake, fake_y, key)
        real_logits, fake_logits = self.logit_of(real_out), self.logit_of(fake_out)
        real_loss, fake_loss = self.loss.discriminator(self._arguments(real_out, y), self._arguments(fake_out, fake_y))
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
        terms = [term for term in self.terms if term not in self._lazy]
        if terms:
            seen = Seen(self._discarding(nets, term_key), x, y, fake, fake_y, real_out, fake_out)
            more, values = self._sum_of_terms(terms, seen, term_key)
            penalty, metrics = penalty + more, metrics | values
        if self.classes.d or self.classes.d_fake:
            metrics["d_classes"] = self.classes.loss(real_out, y)
            penalty += self.classes.d * metrics["d_classes"]
            if self.classes.d_fake:
                penalty += self.classes.d_fake * self.classes.loss(fake_out, fake_y)
        if self.lecam:
            nets.extra["lecam"] = self.lecam.anchors(nets.extra["lecam"], real_logits, fake_logits, nets.step)
            metrics["d_lecam"] = self.lecam.value(nets.extra["lecam"], real_logits, fake_logits, nets.step)
            penalty += metrics["d_lecam"]
        return real_loss + fake_loss + penalty, metrics

    def lazy_penalties(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return the sum of the gradient penalties, times the number of D's updates that it stands for.

        Difference: StyleGAN2 also lowers Adam's rate and betas by k / (k + 1).
        """
        z, y, _ = self._latents_of(nets, batch, jax.random.fold_in(key, 1), for_d=True)
        fake, key = nets("G", z, y, keep=False), jax.random.fold_in(key, 0)
        seen = Seen(self._discarding(nets, key), self._real(batch, key), batch["label"], fake, y, None, None)
        total, values = self._sum_of_terms(self._lazy, seen, key)
        return self.every * self.d_steps * total, values

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return G's loss by the current D. batch: z, fake_label; image and label for losses that use real images."""
        z, y, extra = self._latents_of(nets, batch, jax.random.fold_in(key, 1))
        fake, key, metrics = nets("G", z, y), jax.random.fold_in(key, 0), {}
        if self.loss.relative or self.feature_matching:
            real_out, out = self.discriminate_both(nets, self._real(batch, key), batch["label"], fake, y, key)
        else:
            out = self.discriminate(nets, fake, y, key)
        if self.loss.relative:
            loss = self.loss.generator(self.logit_of(real_out), self.logit_of(out))
        else:
            loss = self._mean_of(self._arguments(out, y), self.logit_of(out), nets.step)
        if self.feature_matching:
            metrics["g_features"] = penalties.feature_matching(real_out.features, out.features)
            extra += self.feature_matching * metrics["g_features"]
        if self.classes.g:
            metrics["g_classes"] = self.classes.loss(out, y)
            extra += self.classes.g * metrics["g_classes"]
        if self.zcr:
            near = nets("G", self.zcr.near(z, jax.random.fold_in(key, 2)), y, keep=False)
            metrics["g_zcr"] = jnp.mean(jnp.square(fake - near))
            extra -= self.zcr.g * metrics["g_zcr"]
        return loss + extra, metrics

    def discriminate(self, nets: Nets, x: Image, y: Label, key: jax.Array, *, keep: bool = True) -> Any:
        """Return D's output for images that are first augmented by the policy."""
        return nets("D", augment.apply(x, key, self.augment_policy), y, keep=keep)

    def discriminate_both(self, nets: Nets, x: Image, y: Label, fake: Image, fake_y: Label, key: jax.Array) -> Any:
        """Return D's outputs for real and for fake images, from one interleaved batch or two batches; see `mixed`."""
        if not self.mixed or nets.moving.variables["D"] or len(x) != len(fake):
            real_key, fake_key = jax.random.split(key)
            return self.discriminate(nets, x, y, real_key), self.discriminate(nets, fake, fake_y, fake_key)
        if y.ndim != fake_y.ndim:  # Mixtures of classes against labels.
            y, fake_y = as_vector(y, self.condition.size), as_vector(fake_y, self.condition.size)
        out = self.discriminate(nets, interleave(x, fake), interleave(y, fake_y), key)
        pairs = jax.tree.map(lambda o: jnp.moveaxis(o.reshape(-1, 2, *o.shape[1:]), 1, 0), out)
        return jax.tree.map(lambda o: o[0], pairs), jax.tree.map(lambda o: o[1], pairs)

    def logit_of(self, output: Any) -> Logit:
        """Return the logit in D's output. Override it if D returns more than a logit, and no Output."""
        return regularizers.logit_of(output)

    def check_chunks(self, d_variables: Any) -> None:
        """Raise UserError if D needs whole batches, because its examples affect each other. d_variables: D's variables."""
        if self.d_chunks == 1:
            return
        whole = [name for name, _ in self.terms if TERMS[name].whole]
        if d_variables:
            what = f"D has statistics of its batch ({', '.join(sorted(d_variables))})"
        elif not self.mixed:
            what = "D compares the images of its batch"
        elif whole:
            what = f"regularizer.{whole[0]} is not a mean over images"
        elif self.lecam or self.zcr or self.logan or self.classes.head in ("contrastive", "d2dce"):
            what = "LeCam, zCR, LOGAN and losses of embeddings need whole batches"
        elif self.loss.relative or self._own_losses:
            what = "the loss is not a mean over images that d_chunks knows of"
        else:
            return
        raise UserError(f"d_chunks={self.d_chunks}: {what}, so its chunks are not its batch; use d_chunks=1")

    @property
    def _lazy(self) -> tuple[tuple[str, float], ...]:
        """The terms that have an update of their own."""
        return tuple(term for term in self.terms if TERMS[term[0]].gradient) if self.every > 1 else ()

    def _sum_of_terms(self, terms, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return the sum of strength * value, and each value as a metric."""
        keys = {name: jax.random.fold_in(key, i) for i, name in enumerate(TERMS)}
        values = {f"d_{name}": TERMS[name].value(seen, keys[name]) for name, _ in terms}
        return jnp.asarray(sum(strength * values[f"d_{name}"] for name, strength in terms)), values

    def _discarding(self, nets: Nets, key: jax.Array):
        """D as a function of images and labels that leaves its variables as they are."""
        return lambda x, y: self.discriminate(nets, x, y, key, keep=False)

    def _real(self, batch: Batch, key: jax.Array) -> Image:
        """Return the real images of the batch, with noise below a grey level if `dequantize`."""
        x = batch["image"]
        if not self.dequantize:
            return x
        return (x + 1) * (127.5 / 128) - 1 + jax.random.uniform(jax.random.fold_in(key, 3), x.shape) / 128

    def _latents_of(self, nets: Nets, batch: Batch, key: jax.Array, *, for_d: bool = False):
        """Return (z, labels of fake images, a term of the loss): the batch's, but for LOGAN's step and `labels`.

        Real numbers as a condition have no distribution to draw from, so fake images get those of the real ones.
        """
        z, y, cost = batch["z"], batch["fake_label"], 0.0
        if self.condition.kind == "vector" or (for_d and self.labels == "real"):
            y = batch["label"]
        if self.logan:
            score = lambda z: self.logit_of(self.discriminate(nets, nets("G", z, y, keep=False), y, key, keep=False))
            z, cost = self.logan.moved(score, z, key)
        return z, y, cost

    def _arguments(self, output: Any, y: Label) -> Any:
        """What the loss takes: logits, or for a loss of classes their logits and the label."""
        return (output.classes, y) if self.loss.of_classes else self.logit_of(output)

    def _mean_of(self, output: Any, logits: Logit, step: jax.Array | int) -> jax.Array:
        """Return G's loss: its mean over images, or over the top k of them."""
        if not self.top_k:
            return self.loss.generator(output)
        each = jax.vmap(lambda one: self.loss.generator(jax.tree.map(lambda x: x[None], one)))(output)
        return jnp.mean(jax.lax.stop_gradient(self.top_k.weights(logits, step)) * each)

    def _d_in_chunks(self, family, update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        """Return D's gradient, chunk by chunk. All images are generated at once, since G has batch statistics."""
        nets = Nets(self, weights, moving, key)
        z, y, _ = self._latents_of(nets, batch, key, for_d=True)
        fake = nets("G", z, y)

        def of_chunk(chunk, key):
            loss = lambda d_weights: self.loss_of_images(nets.with_weights({"D": d_weights}, key), chunk, key)
            return jax.grad(loss, has_aux=True)(weights["D"])

        grads, metrics = gradients.mean_over_chunks(
            self, self.d_chunks, of_chunk, (self._real(batch, key), batch["label"], fake, y), key
        )
        return {"D": grads}, (nets.moving, metrics)

    @property
    def _own_losses(self) -> bool:
        """Whether a subclass has replaced a loss."""
        names = "discriminator_loss", "generator_loss", "loss_of_images"
        return any(getattr(type(self), name) is not getattr(GAN, name) for name in names)

    @property
    def _plain(self) -> bool:
        """Whether G's loss is the mean of a function of logits alone."""
        more = self.feature_matching, self.classes.g, self.zcr, self.logan, self.top_k
        labels = self.loss.of_classes or self.condition.kind == "vector"
        return not (self.loss.relative or labels or self._own_losses or any(more))

    def _g_through_images(self, family, update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        """Return G's gradient. Gradients with respect to images pass D in chunks, and are pulled back through G once.

        There are half as many images as in D's update, so half as many chunks, if that is whole. With one chunk it is the
        gradient of the loss, by a program that the TPU compiler makes 0.5 % faster.
        """
        if not self._plain or moving.variables["D"]:
            return gradients.of_loss(family, update, weights, moving, batch, key)
        nets = Nets(self, weights, moving, key)

        def generate(g_weights):
            inner = nets.with_weights({"G": g_weights})
            return inner("G", batch["z"], batch["fake_label"]), inner.moving

        fake, pullback, moving = jax.vjp(generate, weights["G"], has_aux=True)
        chunks = self.d_chunks if self.d_chunks % 2 else self.d_chunks // 2
        score = lambda x, y, key: self.loss.generator(self.logit_of(self.discriminate(nets, x, y, key)))
        loss, to_fake = gradients.value_and_gradient_in_chunks(self, chunks, score, fake, batch["fake_label"], key)
        return {"G": pullback(to_fake)[0]}, (moving, {"g_loss": loss})

    def _orthogonal(self, params, strength: float, name: str) -> tuple[jax.Array, Metrics]:
        """Orthogonal regularization of raw weights; its gradient is `ortho_factor` (W W^T o (1 - I)) W: 4 is the paper's."""
        with jax.named_scope("penalty"):
            value = strength * (self.ortho_factor / 4) * penalties.orthogonal(params)
            return value, {name: value}
