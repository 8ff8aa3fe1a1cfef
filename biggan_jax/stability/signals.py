"""Owns one look at a state: the signals by which health and collapse show. Must not know how often, nor what follows from them."""

from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.gan import GAN
from biggan_jax.losses import LOSSES, accuracy, hinge_active
from biggan_jax.stability.spectra import top_singular_values
from biggan_jax.state import TrainState
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Label, Logit, Params

LATENTS = 0x100C
"""Sets the latents of looks apart from those of training. They are the same at every look, so that looks can be compared."""


class Probe(NamedTuple):
    """signals: name to float32 scalar; singular: for each player, weight's dotted path to its three largest singular values."""

    signals: dict[str, jax.Array]
    singular: dict[str, dict[str, jax.Array]]


def look(gan: GAN, state: TrainState, images: dict[str, tuple[Image, Label]]) -> Probe:
    """One look. Pure; its cost is that of a part of one round.

    images: uint8 [B, H, W, 3] with labels [B]: `real`, that D is trained on, and, where there are any, `held_out`, that it never
    sees. Samples are the live G's, in training mode. Distances are roots of mean squares, as shares of those between real images:

    - d_real, d_held_out, d_fake: D's mean logit; d_gap: d_real - d_held_out, what D knows by heart
    - d_accuracy; of the hinge loss, d_active: the share of images that it still learns from
    - pixel_spread, feature_spread: among all samples; pixel_diversity, feature_diversity: between two samples of one class, as a share
      of that between two real images of one class. Pixels at 16 x 16, features those that D's last layer sees
    - g_norm, d_norm: Euclidean length of all weights; ema_distance: of average minus live G, as a share of the latter
    - g_sigma, d_sigma: the largest singular value of any normalised weight
    """
    G, D = state.generator, state.discriminator
    singular = {
        name: top_singular_values(player.params, player.stats["spectral"], mesh=gan.mesh)
        for name, player in (("generator", G), ("discriminator", D))
    }
    g_weights, d_weights = gan.gather(tuple(gan.evaluation_weights(p.params, p.stats["spectral"]) for p in (G, D)))

    key = jax.random.fold_in(jax.random.key(state.seed), LATENTS)
    z, y = gan.latents(key, images["real"][1].shape[0])
    y = in_pairs(y)
    samples, _ = gan.generate(g_weights, G.stats["batch_stats"], z, y)
    judged = {name: (to_float(x), labels) for name, (x, labels) in images.items()} | {"fake": (samples, y)}
    logits, features, pixels = {}, {}, {}
    for name, (x, labels) in judged.items():
        logits[name], features[name] = with_features(gan, d_weights, x, labels)
        pixels[name] = thumbnails(x)

    signals = {f"d_{name}": values.mean() for name, values in logits.items()}
    if "held_out" in images:
        signals["d_gap"] = signals["d_real"] - signals["d_held_out"]
    real, fake = logits["real"], logits["fake"]
    signals["d_accuracy"] = accuracy(real, fake)
    if gan.loss == LOSSES["hinge"]:
        signals["d_active"] = hinge_active(real, fake)
    for space, seen in (("pixel", pixels), ("feature", features)):
        among, within = distance_among(seen["real"]), distance_within_classes(seen["real"], images["real"][1])
        signals[f"{space}_spread"] = distance_among(seen["fake"]) / jnp.maximum(among, 1e-12)
        signals[f"{space}_diversity"] = distance_in_pairs(seen["fake"]) / jnp.maximum(within, 1e-12)
    live = length(G.params)
    signals["g_norm"], signals["d_norm"] = live, length(D.params)
    signals["ema_distance"] = length(jax.tree.map(jnp.subtract, state.ema_params, G.params)) / live
    for name, values in singular.items():
        if values:
            signals[f"{name[0]}_sigma"] = jnp.max(jnp.stack([s[0] for s in values.values()]))
    return Probe(signals, singular)


def with_features(gan: GAN, weights: Params, x: Image, y: Label) -> tuple[Logit, jax.Array]:
    """D's logits, and the features [B, C] that its last layer is given."""
    kept = []

    def keep(method, args, kwargs, context):
        if context.module.name == "linear":
            kept.append(args[0])
        return method(*args, **kwargs)

    with nn.intercept_methods(keep):
        logits = cast(Logit, gan.discriminator.apply({"params": weights}, x, y))
    return logits, kept[0]


def thumbnails(x: Image) -> jax.Array:
    """[B, pixels] at 16 x 16, or as small as they are."""
    size = min(16, x.shape[1])
    window = (x.shape[1] // size,) * 2
    return nn.avg_pool(x, window, strides=window).reshape(len(x), -1)


def in_pairs(y: Label) -> Label:
    """Labels of which each is followed by its like: 0, 0, 1, 1, ..."""
    return jnp.repeat(y, 2, axis=0)[: len(y)] if len(y) % 2 else jnp.stack([y[::2]] * 2, axis=1).reshape(y.shape)


def distance_among(x: jax.Array) -> jax.Array:
    """The root of the mean squared distance between two of x [B, F], from their variance."""
    return jnp.sqrt(2 * jnp.sum(jnp.var(x, axis=0)))


def distance_within_classes(x: jax.Array, y: Label) -> jax.Array:
    """The root of the mean squared distance between two of x [B, F] of one class; among all, where no two are of one."""
    pairs = (y[:, None] == y[None]).astype(jnp.float32) - jnp.eye(len(y))
    x = x - x.mean(0)
    products = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.diagonal(products)[:, None] + jnp.diagonal(products)[None] - 2 * products
    mean = jnp.sum(pairs * squared) / jnp.maximum(pairs.sum(), 1)
    return jnp.where(pairs.sum() > 0, jnp.sqrt(jnp.maximum(mean, 0)), distance_among(x))


def distance_in_pairs(x: jax.Array) -> jax.Array:
    """The root of the mean squared distance between neighbours 0 and 1, 2 and 3, ... of x [B, F]."""
    pairs = x[: len(x) // 2 * 2].reshape(-1, 2, x.shape[-1])
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(pairs[:, 0] - pairs[:, 1]), axis=-1)))


def length(tree: Params) -> jax.Array:
    """The Euclidean length of all arrays as one vector."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)))
