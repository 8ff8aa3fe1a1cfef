"""Regularizers of D's and G's losses, by name. The formulas are in penalties."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax import augment, penalties
from biggan_jax.conditioning import Output, direction
from biggan_jax.types import Image, Label, Latent, Logit


class Seen(NamedTuple):
    """The inputs of a term of D's loss: images and their labels, D's outputs for them, and D itself.

    discriminate(x, y): D's output; what its variables become is discarded.
    """

    discriminate: Callable[[Image, Label], Any]
    real: Image
    label: Label
    fake: Image
    fake_label: Label
    real_output: Any
    fake_output: Any

    def logit(self, y: Label) -> Callable[[Image], Logit]:
        """The function from images to logits for labels y."""
        return lambda x: logit_of(self.discriminate(x, y))


def logit_of(output: Any) -> Logit:
    """Return the logit of D's output: of an Output, its own; else the output itself."""
    return output.logit if isinstance(output, Output) else output


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


class Term(NamedTuple):
    """A term of D's loss. value(seen, key). gradient: of D's gradient by images. whole: it needs whole batches."""

    value: Callable[[Seen, jax.Array], jax.Array]
    gradient: bool = True
    whole: bool = False


TERMS = {
    "r1": Term(lambda seen, key: penalties.gradient_penalty(seen.logit(seen.label), seen.real)),
    "r2": Term(lambda seen, key: penalties.gradient_penalty(seen.logit(seen.fake_label), seen.fake)),
    "gp": Term(lambda seen, key: penalties.one_centred(seen.logit(seen.label), _mixed(seen, key))),
    "max_gp": Term(lambda seen, key: penalties.largest(seen.logit(seen.label), _mixed(seen, key)), whole=True),
    "dragan": Term(lambda seen, key: penalties.one_centred(seen.logit(seen.label), _perturbed(seen, key)), whole=True),
    "cr": Term(lambda seen, key: _consistency(seen, seen.real, seen.label, seen.real_output, key), gradient=False),
    "cr_fake": Term(
        lambda seen, key: _consistency(seen, seen.fake, seen.fake_label, seen.fake_output, key), gradient=False
    ),
}
"""Terms of D's loss by name, each times its strength in the config: gradient penalties, and consistency with a mirrored and
shifted view of real (CR, Zhang et al. 2020) or also of fake images (bCR, Zhao et al. 2021). Mixed images (gp, max_gp) have the
labels of the real ones, as in StudioGAN."""


class LeCam(NamedTuple):
    """Pulls D's logits to the other side's moving mean (Tseng et al. 2021). decay: of the means. start: step of its first effect."""

    strength: float
    decay: float
    start: int

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

    def near(self, z: Latent, key: jax.Array) -> Latent:
        return z + self.radius * jax.random.normal(key, z.shape)


class LatentStep(NamedTuple):
    """LOGAN's step of z towards what D finds real (Wu et al. 2019), before both updates.

    z + alpha g / (beta + |g|^2), clipped to [-1, 1], for the share `rate` of images; g is the gradient of the logit by z. The
    losses grow by cost E |step|^2.
    """

    alpha: float
    beta: float
    rate: float
    cost: float

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

    def weights(self, fake: Logit, step: jax.Array | int) -> jax.Array:
        """Weights [B] of the images in G's loss."""
        share = jnp.maximum(self.gamma ** (step // self.steps), self.least)
        return penalties.top_k(fake, jnp.maximum(jnp.floor(share * len(fake)), 1))


def from_config(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a GAN that the section `regularizer` of a config describes."""
    return {
        "terms": tuple((name, own[name]) for name in TERMS if own[name]),
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
