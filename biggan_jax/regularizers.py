"""The terms of D's and G's losses. The formulas are in penalties and conditioning, the interface in terms."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax import augment, penalties
from biggan_jax.augment import Probability
from biggan_jax.conditioning import CLASS_LOSSES, Output, direction, require
from biggan_jax.schedules import Schedule
from biggan_jax.terms import Seen, Shown, Strength, Term, at, logit_of
from biggan_jax.types import Image, Label, Latent, Logit, Metrics


def compared(output: Any) -> Any:
    """Return what consistency compares: logits, and logits of classes or directions of embeddings, as StudioGAN does."""
    if not isinstance(output, Output):
        return output
    embedding = None if output.embedding is None else direction(output.embedding)
    return output._replace(embedding=embedding, proxy=None, features=None)


def flip_and_shift(x: Image, key: jax.Array) -> Image:
    """Mirror half of the images, and shift each by up to an eighth over grey: the view that consistency compares with.

    Difference: StudioGAN continues the images by reflection.
    """
    flip_key, key = jax.random.split(key)
    mirrored = jax.random.bernoulli(flip_key, shape=(len(x), 1, 1, 1))
    return augment.translate(jnp.where(mirrored, x[:, :, ::-1], x), key)


def _shares(seen: Seen, key: jax.Array) -> jax.Array:
    return jax.random.uniform(key, (len(seen.real),))


def _mixed(seen: Seen, key: jax.Array) -> Image:
    return penalties.mix(seen.real, seen.fake, _shares(seen, key))


def _perturbed(seen: Seen, key: jax.Array) -> Image:
    share_key, noise_key = jax.random.split(key)
    return penalties.perturb(seen.real, _shares(seen, share_key), jax.random.uniform(noise_key, seen.real.shape))


def _consistency(seen: Seen, x: Image, y: Label, output: Any, key: jax.Array) -> jax.Array:
    return penalties.consistency(compared(output), compared(seen.discriminate(flip_and_shift(x, key), y)))


class Penalty(NamedTuple):
    """A term of D's loss before its strength: value(seen, key). gradient, whole: see terms.Term."""

    value: Callable[[Seen, jax.Array], jax.Array]
    gradient: bool = True
    whole: bool = False


TERMS = {
    "r1": Penalty(lambda seen, key: penalties.gradient_penalty(seen.logit(seen.label), seen.real)),
    "r2": Penalty(lambda seen, key: penalties.gradient_penalty(seen.logit(seen.fake_label, fake=True), seen.fake)),
    "gp": Penalty(lambda seen, key: penalties.one_centred(seen.logit(seen.label), _mixed(seen, key))),
    "max_gp": Penalty(lambda seen, key: penalties.largest(seen.logit(seen.label), _mixed(seen, key)), whole=True),
    "dragan": Penalty(
        lambda seen, key: penalties.one_centred(seen.logit(seen.label), _perturbed(seen, key)), whole=True
    ),
    "cr": Penalty(lambda seen, key: _consistency(seen, seen.real, seen.label, seen.real_output, key), gradient=False),
    "cr_fake": Penalty(
        lambda seen, key: _consistency(seen, seen.fake, seen.fake_label, seen.fake_output, key), gradient=False
    ),
    "drift": Penalty(lambda seen, key: penalties.drift(logit_of(seen.real_output)), gradient=False),
}
"""Terms of D's loss by name, each times its strength in the config: gradient penalties, consistency with a mirrored and
shifted view of real (CR, Zhang et al. 2020) or also of fake images (bCR, Zhao et al. 2021), and small logits of real images
(drift, Karras et al. 2018). Mixed images (gp, max_gp) have the labels of the real ones, as in StudioGAN."""


def penalty(name: str, strength: Strength, target: float = 1.0) -> Term:
    """Return the term of TERMS of that name. Its metric d_<name> is its value before the strength. target: see `one_centred`."""
    value, gradient, whole = TERMS[name]
    if target != 1:
        value = lambda seen, key: penalties.one_centred(seen.logit(seen.label), _mixed(seen, key), target)

    def d(seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        found = value(seen, key)
        return at(strength, seen.step) * found, {f"d_{name}": found}

    why = f"regularizer.{name} is not a mean over images" if whole else ""
    return Term(name, d=d, gradient=gradient, whole=why, stream=list(TERMS).index(name))


class Classes(NamedTuple):
    """How the losses use classes; see conditioning.

    d, d_fake, g: weights of the loss of classes, of real images and of fake ones in D's update, and in G's.
    """

    head: str = "projection"
    d: float = 0.0
    d_fake: float = 0.0
    g: float = 0.0
    temperature: float = 1.0
    margin: float = 0.98

    def term(self) -> Term:
        """D's term of real and of fake images, and G's of fake ones."""
        whole = (
            f"condition.d={self.head} compares the images of its batch" if self.head in ("contrastive", "d2dce") else ""
        )
        d, g = self.of_d if self.d or self.d_fake else None, self.of_g if self.g else None
        return Term("classes", d=d, g=g, whole=whole)

    def of_d(self, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        value = self.loss(seen.real_output, seen.label)
        total = self.d * value
        if self.d_fake:
            total += self.d_fake * self.loss(seen.fake_output, seen.fake_label)
        return total, {"d_classes": value}

    def of_g(self, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        value = self.loss(seen.fake_output, seen.fake_label)
        return self.g * value, {"g_classes": value}

    def loss(self, output: Output, y: Label) -> jax.Array:
        """The loss of the head; see CLASS_LOSSES."""
        return CLASS_LOSSES[self.head](output, y, temperature=self.temperature, margin=self.margin)


class LeCam(NamedTuple):
    """Pulls D's logits to the other side's moving mean (Tseng et al. 2021). decay: of the means. start: step of its first effect."""

    strength: float
    decay: float
    start: int

    def term(self) -> Term:
        """D's term, which keeps the moving means."""
        initial = lambda: {"real": jnp.zeros(()), "fake": jnp.zeros(())}
        return Term("lecam", d=self.of_d, state=initial, whole="LeCam's moving means need whole batches")

    def of_d(self, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        real, fake = logit_of(seen.real_output), logit_of(seen.fake_output)
        anchors = seen.extra["lecam"] = self.anchors(seen.extra["lecam"], real, fake, seen.step)
        value = self.value(anchors, real, fake, seen.step)
        return value, {"d_lecam": value}

    def anchors(self, anchors: dict, real: Logit, fake: Logit, step: jax.Array | int) -> dict:
        """The moving means after a batch; up to `start` they are the means of that batch."""
        decay = jnp.where(step < max(self.start, 1), 0.0, self.decay)
        move = lambda anchor, logit: decay * anchor + (1 - decay) * jax.lax.stop_gradient(logit.mean())
        return {"real": move(anchors["real"], real), "fake": move(anchors["fake"], fake)}

    def value(self, anchors: dict, real: Logit, fake: Logit, step: jax.Array | int) -> jax.Array:
        """The term of D's loss, times its strength."""
        return jnp.where(
            step > self.start, self.strength * penalties.lecam(real, fake, anchors["real"], anchors["fake"]), 0.0
        )


class LatentConsistency(NamedTuple):
    """zCR (Zhao et al. 2021). d, g: strengths.

    D's outputs for z and for z + radius N(0, 1) are pulled together; G's images are pushed apart.
    """

    d: float
    g: float
    radius: float

    def term(self) -> Term:
        """D's and G's terms."""
        return Term("zcr", d=self.of_d, g=self.of_g, whole="zCR's near latents need whole batches")

    def of_d(self, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        outputs = (seen.discriminate(x, seen.fake_label) for x in (seen.fake, self.near(seen, key)))
        value = penalties.consistency(*map(compared, outputs))
        return self.d * value, {"d_zcr": value}

    def of_g(self, seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        value = jnp.mean(jnp.square(seen.fake - self.near(seen, key)))
        return -self.g * value, {"g_zcr": value}

    def near(self, seen: Seen, key: jax.Array) -> Image:
        """Return the images of near latents with the same labels."""
        return seen.generate(seen.z + self.radius * jax.random.normal(key, seen.z.shape), seen.fake_label)


class LatentStep(NamedTuple):
    """LOGAN's step of z towards what D finds real (Wu et al. 2019), before both updates.

    z + alpha g / (beta + ||g||^2), clipped to [-1, 1], for the share `rate` of images; g is the gradient of the logit by z. The
    losses grow by cost E ||step||^2.
    """

    alpha: float
    beta: float
    rate: float
    cost: float

    def term(self) -> Term:
        """The change of latents."""
        return Term("logan", latents=self.moved, whole="LOGAN's step of latents needs whole batches")

    def moved(self, score: Callable[[Latent], Logit], z: Latent, key: jax.Array) -> tuple[Latent, jax.Array]:
        """Return (the new z, its cost)."""
        grads = jax.grad(lambda z: score(z).sum())(z)
        step = self.alpha * grads / (self.beta + jnp.sum(jnp.square(grads), axis=1, keepdims=True))
        chosen = jax.random.uniform(key, (len(z), 1)) < self.rate
        return jnp.clip(z + chosen * step, -1, 1), self.cost * jnp.mean(jnp.sum(jnp.square(step), axis=1))


class TopK(NamedTuple):
    """G learns from the images that D finds most real (Sinha et al. 2020).

    Their share is gamma^(steps done / `steps`, rounded down), but at least `least`.
    """

    gamma: float
    least: float
    steps: int

    def term(self) -> Term:
        """The weights of G's images."""
        return Term("top_k", weigh=self.weights)

    def weights(self, fake: Logit, step: jax.Array | int) -> jax.Array:
        """Weights [B] of the images in G's loss."""
        share = jnp.maximum(self.gamma ** (step // self.steps), self.least)
        return penalties.top_k(fake, jnp.maximum(jnp.floor(share * len(fake)), 1))


def feature_matching(strength: float) -> Term:
    """G's term of the means of D's features of real and of fake images (Salimans et al. 2016)."""

    def g(seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        value = penalties.feature_matching(require(seen.real_output.features), require(seen.fake_output.features))
        return strength * value, {"g_features": value}

    return Term("features", g=g, compares=True)


def augmentation(p: Probability, apa: bool) -> Term:
    """Show the probability of ADA and APA as a metric, adapt it if it has a target, and with `apa` show D fake images as real."""

    def d(seen: Seen, key: jax.Array) -> tuple[jax.Array, Metrics]:
        real, used = logit_of(seen.real_output), p.at(seen.extra, seen.step)
        if p.target:
            seen.extra[augment.STATE] = p.adapted(seen.extra[augment.STATE], real)
        return jnp.float32(0), {"augment_p": used, "d_signs": jnp.sign(real).mean()}

    def show(shown: Shown, extra: dict[str, Any], step: jax.Array | int, key: jax.Array) -> Shown:
        real, label = augment.replace(*shown[:4], key, p.at(extra, step))
        return shown._replace(real=real, label=label)

    why = "augment.target adapts to whole batches" if p.target else ""
    return Term(augment.STATE, d=d, show=show if apa else None, state=p.initial if p.target else None, whole=why)


def from_config(own: Mapping[str, Any], schedule: Schedule | None) -> dict[str, Any]:
    """Return the fields of a GAN that the section `regularizer` of a config describes. schedule: factor of gradient penalties."""
    scheduled = lambda name: own[name] if schedule is None or not TERMS[name].gradient else schedule.times(own[name])
    towards = lambda name: penalty(name, scheduled(name), own["gp_target"])
    return {
        "terms": tuple(
            towards(name) if name == "gp" and own["gp_target"] != 1 else (name, scheduled(name))
            for name in TERMS
            if own[name]
        ),
        "every": own["every"],
        "feature_matching": own["feature_matching"],
        "lecam": LeCam(own["lecam"], own["lecam_decay"], own["lecam_start"]) if own["lecam"] else None,
        "zcr": LatentConsistency(own["zcr_d"], own["zcr_g"], own["zcr_radius"])
        if own["zcr_d"] or own["zcr_g"]
        else None,
        "logan": LatentStep(own["logan"], own["logan_beta"], own["logan_rate"], own["logan_cost"])
        if own["logan"]
        else None,
        "top_k": TopK(own["top_k"], own["top_k_least"], own["top_k_steps"]) if own["top_k"] else None,
    }
