"""The adversarial family: a generator against a discriminator (Goodfellow et al. 2014; Brock et al. 2019, App. C)."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax import augment, chunks, penalties, regularizers
from biggan_jax.conditioning import as_vector
from biggan_jax.family import Family, Nets, Update
from biggan_jax.gradients import interleave
from biggan_jax.losses import Loss, accuracy, hinge_active
from biggan_jax.regularizers import Classes, LatentConsistency, LatentStep, LeCam, TopK
from biggan_jax.terms import Seen, Shown, Strength, Term, add_terms, logit_of
from biggan_jax.types import Batch, Image, Label, Latent, Logit, Metrics, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Family):
    """Networks G(z, y) and D(x, y). A step is d_steps updates of D, one of G, one moving average of G.

    A family whose losses are of another form overrides `discriminator_loss` and `generator_loss`, or `updates`.

    loss: see losses.LOSSES. terms: what is added to the losses, each a terms.Term, or the name in regularizers.TERMS and the
    strength of a term of D's. classes, feature_matching (a strength), lecam, zcr, logan, top_k: further terms, see
    regularizers. every: gradient penalties run in an update of their own, each `every`-th step. g_ortho, d_ortho: strength of
    orthogonal regularization of raw weights. d_chunks: parts in which D works through a batch, to save memory. mixed: whether
    D sees real and fake images in one batch; ignored if D has batch statistics: then it sees two batches. g_batch: images of
    G's update for each of D's. g_real: whether G's update compares with the real images of D's last one (shared), or with a
    minibatch of its own (own). labels: those of fake images are uniform, or those of real ones in D's update (real) or in both
    (paired). penalties_see: whether gradient penalties see images through augmentation (augmented) or without it (plain); both are
    of the gradient by the images before it.
    dequantize: real images are x / 128 - 1 + U(0, 1 / 128) for pixels x in 0 ... 255, as in the code of WGAN-GP and SNGAN.
    apart: D sees real and fake images in two batches. The forward passes of R1 and R2 are then those of the loss, with the same
    augmentation, and XLA computes them once: an eighth less work in D's update. augment_policy: DiffAugment's. ada, apa: with
    the probability augment_p; see augment.
    """

    loss: Loss
    d_steps: int = 1
    d_chunks: int = 1
    mixed: bool = True
    g_ortho: float = 0.0
    d_ortho: float = 0.0
    ortho_factor: float = 4.0
    terms: tuple[Term | tuple[str, Strength], ...] = ()
    every: int = 1
    classes: Classes | None = None
    g_batch: int = 1
    g_real: str = "shared"
    labels: str = "uniform"
    penalties_see: str = "augmented"
    apart: bool = False
    feature_matching: float = 0.0
    dequantize: bool = False
    lecam: LeCam | None = None
    zcr: LatentConsistency | None = None
    logan: LatentStep | None = None
    top_k: TopK | None = None
    augment_policy: tuple[str, ...] = ()
    ada: augment.Ada | None = None
    apa: bool = False
    augment_p: augment.Probability | None = None

    @property
    def minibatches(self) -> int:
        return self.d_steps + (self.g_real == "own")

    @property
    def added(self) -> tuple[Term, ...]:
        """All terms of the losses, in order."""
        given = [term if isinstance(term, Term) else regularizers.penalty(*term) for term in self.terms]
        settings = self.classes, self.lecam, self.zcr, self.logan, self.top_k
        given += [of.term() for of in settings if of]
        given += [regularizers.augmentation(self.augment_p, self.apa)] if self.augment_p else []
        return *given, *([regularizers.feature_matching(self.feature_matching)] if self.feature_matching else [])

    def initial_extra(self) -> dict[str, Any]:
        """What terms keep, such as LeCam's moving means of D's logits."""
        return {term.name: term.state() for term in self.added if term.state}

    def updates(self) -> tuple[Update, ...]:
        """Return the updates of a step: d_steps of D, each on its own minibatch, then one of G; lazy penalties follow D's."""
        D = Update(("D",), self.discriminator_loss, "d", self.draw)
        G = Update(("G",), self.generator_loss, "g", self.draw_for_g)
        if self.d_chunks > 1:
            D = dataclasses.replace(D, gradient=chunks.of_d(self.d_chunks, self.shown_to_d, self.loss_of_images))
        if self._through_images:
            # There are half as many images as in D's update, so half as many chunks, if that is whole.
            number = self.d_chunks if self.d_chunks % 2 else self.d_chunks // 2
            G = dataclasses.replace(G, gradient=chunks.of_g(number, self.shown_to_g, self.loss_of_fakes))
        if self.d_ortho:
            D = dataclasses.replace(D, penalty=lambda params: self._orthogonal(params["D"], self.d_ortho, "d_ortho"))
        if self.g_ortho:
            G = dataclasses.replace(G, penalty=lambda params: self._orthogonal(params["G"], self.g_ortho, "g_ortho"))
        of_d = [dataclasses.replace(D, minibatch=i) for i in range(self.d_steps)]
        if any(self._lazy(term) for term in self.added):
            last = self.d_steps - 1
            of_d.append(Update(("D",), self.lazy_penalties, "d_lazy", self.draw, minibatch=last, every=self.every))
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
        shown, cost = self.shown_to_d(nets, batch, key)
        loss, metrics = self.loss_of_images(nets, shown, jax.random.fold_in(key, 0))
        return loss + cost, metrics

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return G's loss by the current D. batch: z, fake_label; image and label for losses that use real images."""
        shown, cost = self.shown_to_g(nets, batch, key)
        loss, metrics = self.loss_of_fakes(nets, shown, jax.random.fold_in(key, 0))
        return loss + cost, metrics

    def shown_to_d(
        self, nets: Nets, batch: Batch, key: jax.Array, *, keep: bool = True
    ) -> tuple[Shown, jax.Array | float]:
        """Return the images of D's update, and what the choice of latents adds to its loss. keep: see Nets."""
        z, y, cost = self._latents_of(nets, batch, key, for_d=True)
        fake = self.fake_images(nets, batch, z, y, keep=keep)
        shown = Shown(self._real(batch, jax.random.fold_in(key, 0)), batch["label"], fake, y, z)
        for term in self.added:
            if term.show:
                shown = term.show(shown, nets.extra, nets.step, term.key(jax.random.fold_in(key, 2)))
        return shown, cost

    def shown_to_g(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[Shown, jax.Array | float]:
        """Return the images of G's update, with real ones if its loss compares with them, and the latents' term of its loss."""
        z, y, cost = self._latents_of(nets, batch, key)
        shown = Shown(None, None, self.fake_images(nets, batch, z, y), y, z)
        if self.compares:
            shown = shown._replace(real=self._real(batch, jax.random.fold_in(key, 0)), label=batch["label"])
        return shown, cost

    def fake_images(self, nets: Nets, batch: Batch, z: Latent, y: Label, *, keep: bool = True) -> Image:
        """Return G's images of an update. batch: what else was drawn for them, for a G that takes more than z and labels."""
        return nets("G", z, y, keep=keep)

    def loss_of_images(self, nets: Nets, shown: Shown, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's mean loss of the images that it is shown, with the terms that are not lazy."""
        key, term_key = jax.random.split(key)
        real_out, fake_out = self.discriminate_both(nets, *shown[:4], key)
        real_logits, fake_logits = self.logit_of(real_out), self.logit_of(fake_out)
        real_loss, fake_loss = self.loss.discriminator(
            self._arguments(real_out, shown.label), self._arguments(fake_out, shown.fake_label)
        )
        metrics = {
            "d_loss": real_loss + fake_loss,
            "d_loss_real": real_loss,
            "d_loss_fake": fake_loss,
            "d_real": real_logits.mean(),
            "d_fake": fake_logits.mean(),
            "d_accuracy": accuracy(real_logits, fake_logits),
            "d_active": hinge_active(real_logits, fake_logits),
        }
        parts = [(term, term.d) for term in self.added if term.d and not self._lazy(term)]
        keys = jax.random.split(key) if self.apart else None  # Those of `discriminate_both`.
        seen = self._seen(nets, shown, real_out, fake_out, term_key, keys)
        loss, more = add_terms(real_loss + fake_loss, parts, seen, term_key)
        return loss, metrics | more

    def loss_of_fakes(self, nets: Nets, shown: Shown, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return G's mean loss of its images, compared with real ones if its loss does so, with its terms."""
        if self.compares:
            real_out, out = self.discriminate_both(nets, *shown[:4], key)
        else:
            real_out, out = None, self.discriminate(nets, shown.fake, shown.fake_label, key)
        if self.loss.relative:
            loss = self.loss.generator(self.logit_of(real_out), self.logit_of(out))
        else:
            loss = self._mean_of(self._arguments(out, shown.fake_label), self.logit_of(out), nets.step)
        parts = [(term, term.g) for term in self.added if term.g]
        return add_terms(loss, parts, self._seen(nets, shown, real_out, out, key), key)

    def lazy_penalties(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return the sum of the gradient penalties, times the number of D's updates that it stands for.

        Difference: StyleGAN2 also lowers Adam's rate and betas by k / (k + 1).
        """
        shown, _ = self.shown_to_d(nets, batch, key, keep=False)
        key = jax.random.fold_in(key, 0)
        parts = [(term, term.d) for term in self.added if term.d and self._lazy(term)]
        total, values = add_terms(jnp.float32(0), parts, self._seen(nets, shown, None, None, key), key)
        return self.every * self.d_steps * total, values

    def discriminate(self, nets: Nets, x: Image, y: Label, key: jax.Array, *, keep: bool = True) -> Any:
        """Return D's output for images that are first augmented."""
        x = augment.apply(x, key, self.augment_policy)
        if self.ada and self.augment_p:
            x = self.ada(x, jax.random.fold_in(key, 0), self.augment_p.at(nets.extra, nets.step))
        return nets("D", x, y, keep=keep)

    def discriminate_both(self, nets: Nets, x: Image, y: Label, fake: Image, fake_y: Label, key: jax.Array) -> Any:
        """Return D's outputs for real and for fake images, from one interleaved batch or two batches; see `mixed`."""
        if not self.mixed or self.apart or nets.moving.variables["D"] or len(x) != len(fake):
            real_key, fake_key = jax.random.split(key)
            return self.discriminate(nets, x, y, real_key), self.discriminate(nets, fake, fake_y, fake_key)
        if y.ndim != fake_y.ndim:  # Mixtures of classes against labels.
            y, fake_y = as_vector(y, self.condition.size), as_vector(fake_y, self.condition.size)
        out = self.discriminate(nets, interleave(x, fake), interleave(y, fake_y), key)
        pairs = jax.tree.map(lambda o: jnp.moveaxis(o.reshape(-1, 2, *o.shape[1:]), 1, 0), out)
        return jax.tree.map(lambda o: o[0], pairs), jax.tree.map(lambda o: o[1], pairs)

    def penalised_images(self, x: Image) -> Image:
        """Return x, whose gradient may be scaled: gradient penalties are of it. By default unchanged."""
        return x

    def logit_of(self, output: Any) -> Logit:
        """Return the logit in D's output. Override it if D returns neither a logit nor a conditioning.Output."""
        return logit_of(output)

    def check_chunks(self, d_variables: Any) -> None:
        """Raise UserError if D needs whole batches, because its examples affect each other. d_variables: D's variables."""
        if self.d_chunks == 1:
            return
        whole = [
            term.whole or f"{term.name} keeps statistics of whole batches"
            for term in self.added
            if term.whole or term.state
        ]
        if not self.mixed:
            what = "D compares the images of its batch"
        elif d_variables:
            what = f"D has statistics of its batch ({', '.join(sorted(d_variables))})"
        elif whole:
            what = whole[0]
        elif self.loss.relative or self._own_losses:
            what = "the loss is not a mean over images that d_chunks knows of"
        else:
            return
        raise UserError(f"d_chunks={self.d_chunks}: {what}, so its chunks are not its batch; use d_chunks=1")

    def _lazy(self, term: Term) -> bool:
        """Whether the term has an update of its own."""
        return term.gradient and self.every > 1

    def _seen(self, nets: Nets, shown: Shown, real_out: Any, fake_out: Any, key: jax.Array, keys: Any = None) -> Seen:
        """What terms see. Networks called by them leave their variables as they are.

        keys: of augmentation in penalties of real and of fake images; by default `key`.
        """
        discriminate = lambda x, y, key=key: self.discriminate(nets, x, y, key, keep=False)
        plain = lambda x, y, fake: nets("D", self.penalised_images(x), y, keep=False)
        augmented = lambda x, y, fake: discriminate(
            self.penalised_images(x), y, key if keys is None else keys[int(fake)]
        )
        penalised = plain if self.penalties_see == "plain" else augmented
        generate = lambda z, y: nets("G", z, y, keep=False)
        return Seen(*shown, real_out, fake_out, discriminate, penalised, generate, nets.step, nets.extra)

    def _real(self, batch: Batch, key: jax.Array) -> Image:
        """Return the real images of the batch, with noise below a grey level if `dequantize`."""
        x = batch["image"]
        if not self.dequantize:
            return x
        return (x + 1) * (127.5 / 128) - 1 + jax.random.uniform(jax.random.fold_in(key, 3), x.shape) / 128

    def _latents_of(self, nets: Nets, batch: Batch, key: jax.Array, *, for_d: bool = False):
        """Return (z, labels of fake images, a term of the loss): the batch's, but for `labels` and terms that move z.

        Real numbers and texts have no distribution to draw from, so fake images get those of the real ones.
        """
        z, y, cost = batch["z"], batch["fake_label"], 0.0
        if self.condition.of_data or self.labels == "paired" or (for_d and self.labels == "real"):
            y = batch["label"]
        key = jax.random.fold_in(key, 1)
        score = lambda z: self.logit_of(self.discriminate(nets, nets("G", z, y, keep=False), y, key, keep=False))
        for moved in (term.latents for term in self.added if term.latents):
            z, more = moved(score, z, key)
            cost += more
        return z, y, cost

    def _arguments(self, output: Any, y: Label) -> Any:
        """What the loss takes: logits, or for a loss of classes their logits and the label."""
        return (output.classes, y) if self.loss.of_classes else self.logit_of(output)

    def _mean_of(self, output: Any, logits: Logit, step: jax.Array | int) -> jax.Array:
        """Return G's loss: its mean over images, weighted if a term has weights."""
        weights = [term.weigh(logits, step) for term in self.added if term.weigh]
        if not weights:
            return self.loss.generator(output)
        each = jax.vmap(lambda one: self.loss.generator(jax.tree.map(lambda x: x[None], one)))(output)
        return jnp.mean(jax.lax.stop_gradient(math.prod(weights)) * each)

    @property
    def compares(self) -> bool:
        """Whether G's loss compares its images with real ones."""
        return self.loss.relative or any(term.compares for term in self.added)

    @property
    def _through_images(self) -> bool:
        """Whether G's loss is a mean of a function of single images and their labels, as `chunks.of_g` needs."""
        whole = any(term.latents or term.weigh or (term.g and (term.whole or term.state)) for term in self.added)
        return not (self.compares or self._own_losses or whole)

    @property
    def _own_losses(self) -> bool:
        """Whether a subclass has replaced a loss."""
        names = "discriminator_loss", "generator_loss", "loss_of_images", "loss_of_fakes"
        return any(getattr(type(self), name) is not getattr(GAN, name) for name in names)

    def _orthogonal(self, params, strength: float, name: str) -> tuple[jax.Array, Metrics]:
        """Orthogonal regularization of raw weights; its gradient is `ortho_factor` (W W^T o (1 - I)) W: 4 is the paper's."""
        with jax.named_scope("penalty"):
            value = strength * (self.ortho_factor / 4) * penalties.orthogonal(params)
            return value, {name: value}
