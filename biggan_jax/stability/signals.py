"""Probe a training state: the signals that distinguish a healthy run from a collapsing one."""

from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from biggan_jax.gan import GAN
from biggan_jax.losses import LOSSES, accuracy, hinge_active
from biggan_jax.stability.spectra import top_singular_values
from biggan_jax.state import TrainState
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Label, Logit, Params

LATENTS = 0x100C
"""Folded into the key of probes' latents, which differ from those of training and are the same in every probe."""


class Probe(NamedTuple):
    """signals: {name: float32 scalar}; singular: {network: {dotted path of a weight: its three largest singular values}}."""

    signals: dict[str, jax.Array]
    singular: dict[str, dict[str, jax.Array]]


def probe(gan: GAN, state: TrainState, images: dict[str, tuple[Image, Label]]) -> Probe:
    """Compute all signals of a state. Pure; cheaper than one training step.

    Args:
        gan: the model.
        state: the training state. Samples are drawn from the live G in training mode.
        images: uint8 [B, H, W, 3] with labels [B]: `real`, which D is trained on, and optionally `held_out`, which it never sees.

    Returns:
        The singular values of all normalised weights and these signals. Distances are root mean squares, divided by those
        between real images:

        - d_real, d_held_out, d_fake: D's mean logit; d_gap: d_real - d_held_out, D's overfitting
        - d_accuracy; for the hinge loss, d_active: the fraction of images with a non-zero gradient
        - pixel_spread, feature_spread: distance among all samples; pixel_diversity, feature_diversity: distance between two
          samples of one class. Pixels are averaged to 16 x 16; features are the inputs of D's last layer
        - g_norm, d_norm: Euclidean norm of all weights; ema_distance: norm of averaged minus live weights, divided by g_norm
        - g_sigma, d_sigma: the largest singular value of any normalised weight
    """
    G, D = state.generator, state.discriminator
    singular = {
        name: top_singular_values(network.params, network.stats["spectral"], mesh=gan.mesh)
        for name, network in (("generator", G), ("discriminator", D))
    }
    g_weights, d_weights = gan.gather(tuple(gan.evaluation_weights(p.params, p.stats["spectral"]) for p in (G, D)))

    key = jax.random.fold_in(jax.random.key(state.seed), LATENTS)
    z, y = gan.latents(key, images["real"][1].shape[0])
    y = paired(y)
    samples, _ = gan.generate(g_weights, G.stats["batch_stats"], z, y)
    inputs = {name: (to_float(x), labels) for name, (x, labels) in images.items()} | {"fake": (samples, y)}
    logits, features, pixels = {}, {}, {}
    for name, (x, labels) in inputs.items():
        logits[name], features[name] = logits_and_features(gan, d_weights, x, labels)
        pixels[name] = thumbnails(x)

    signals = {f"d_{name}": values.mean() for name, values in logits.items()}
    if "held_out" in images:
        signals["d_gap"] = signals["d_real"] - signals["d_held_out"]
    real, fake = logits["real"], logits["fake"]
    signals["d_accuracy"] = accuracy(real, fake)
    if gan.loss == LOSSES["hinge"]:
        signals["d_active"] = hinge_active(real, fake)
    for space, seen in (("pixel", pixels), ("feature", features)):
        among, within = distance(seen["real"]), distance_within_classes(seen["real"], images["real"][1])
        signals[f"{space}_spread"] = distance(seen["fake"]) / jnp.maximum(among, 1e-12)
        signals[f"{space}_diversity"] = distance_of_pairs(seen["fake"]) / jnp.maximum(within, 1e-12)
    live = optax.global_norm(G.params)
    signals["g_norm"], signals["d_norm"] = live, optax.global_norm(D.params)
    signals["ema_distance"] = optax.global_norm(jax.tree.map(jnp.subtract, state.ema_params, G.params)) / live
    for name, values in singular.items():
        if values:
            signals[f"{name[0]}_sigma"] = jnp.max(jnp.stack([s[0] for s in values.values()]))
    return Probe(signals, singular)


def logits_and_features(gan: GAN, weights: Params, x: Image, y: Label) -> tuple[Logit, jax.Array]:
    """Return D's logits and the inputs [B, C] of its last layer."""
    kept = []

    def keep(method, args, kwargs, context):
        if context.module.name == "linear":
            kept.append(args[0])
        return method(*args, **kwargs)

    with nn.intercept_methods(keep):
        logits = cast(Logit, gan.discriminator.apply({"params": weights}, x, y))
    return logits, kept[0]


def thumbnails(x: Image) -> jax.Array:
    """Average images to 16 x 16 pixels, if they are larger; returns [B, pixels]."""
    size = min(16, x.shape[1])
    window = (x.shape[1] // size,) * 2
    return nn.avg_pool(x, window, strides=window).reshape(len(x), -1)


def paired(y: Label) -> Label:
    """Repeat every other label, so that neighbours are equal: 0, 0, 1, 1, ..."""
    return jnp.repeat(y, 2, axis=0)[: len(y)] if len(y) % 2 else jnp.stack([y[::2]] * 2, axis=1).reshape(y.shape)


def distance(x: jax.Array) -> jax.Array:
    """Return the root mean squared distance between two rows of x [B, F], from their variance."""
    return jnp.sqrt(2 * jnp.sum(jnp.var(x, axis=0)))


def distance_within_classes(x: jax.Array, y: Label) -> jax.Array:
    """Return the root mean squared distance between two rows of x [B, F] of one class; of all rows if no class occurs twice."""
    pairs = (y[:, None] == y[None]).astype(jnp.float32) - jnp.eye(len(y))
    x = x - x.mean(0)
    products = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.diagonal(products)[:, None] + jnp.diagonal(products)[None] - 2 * products
    mean = jnp.sum(pairs * squared) / jnp.maximum(pairs.sum(), 1)
    return jnp.where(pairs.sum() > 0, jnp.sqrt(jnp.maximum(mean, 0)), distance(x))


def distance_of_pairs(x: jax.Array) -> jax.Array:
    """Return the root mean squared distance between rows 0 and 1, 2 and 3, ... of x [B, F]."""
    pairs = x[: len(x) // 2 * 2].reshape(-1, 2, x.shape[-1])
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(pairs[:, 0] - pairs[:, 1]), axis=-1)))
