"""Probe a training state: the signals that distinguish a healthy run from a collapsing one."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from biggan_jax.family import Family, Moving, Nets
from biggan_jax.gan import GAN
from biggan_jax.losses import LOSSES, accuracy, hinge_active
from biggan_jax.stability.classes import agreement, other_labels
from biggan_jax.stability.spectra import top_singular_values
from biggan_jax.state import TrainState
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Label, Logit, Params

LATENTS = 0x100C
"""Folded into the key of probes' latents, which differ from those of training and are the same in every probe."""

SINGULAR_NAMES = {"G": "generator", "D": "discriminator"}  # The names of these networks in files of diagnostics.


AGREEMENTS = {"real": "real_agreement", "fake": "sample_agreement"}


class Probe(NamedTuple):
    """signals: {name: float32 scalar}; singular: {network: {dotted path of a weight: its three largest singular values}}."""

    signals: dict[str, jax.Array]
    singular: dict[str, dict[str, jax.Array]]


def probe(gan: Family, state: TrainState, images: dict[str, tuple[Image, Label]]) -> Probe:
    """Compute all signals of a state. Pure; cheaper than one training step.

    images: uint8 [B, H, W, C] with labels [B]: `real`, which D is trained on, and optionally `held_out`, which it never sees.
    The labels of a family that translates are the images of A, those of B are the real ones.
    Samples are drawn from the live G in training mode. Signals of logits and features exist for a generator against a
    discriminator alone. Distances are root mean squares, divided by those between real images:

    - d_real, d_held_out, d_fake: D's mean logit; d_gap: d_real - d_held_out, D's overfitting
    - d_accuracy; for the hinge loss, d_active: the fraction of images with a non-zero gradient
    - d_deviation, for losses whose logits have no scale: standard deviation of logits about the mean of their kind, real or fake
    - pixel_spread, feature_spread: distance among all samples; pixel_diversity, feature_diversity: distance between two
      samples of one class, which a model of texts has not. Pixels are averaged to 16 x 16; features are the inputs of D's last layer
    - g_norm, d_norm: Euclidean norm of all weights; ema_distance: norm of averaged minus live weights, divided by g_norm
    - g_sigma, d_sigma: the largest singular value of any normalised weight
    - real_agreement, sample_agreement: share of images for which D prefers their own label to another one
    - class_distance: between samples of equal latents and different classes, relative to pixel_spread's of samples
    """
    singular = {
        SINGULAR_NAMES.get(name, name): top_singular_values(network.params, network.spectral, mesh=gan.mesh)
        for name, network in state.networks.items()
    }
    weights = gan.gather({n: gan.evaluation_weights(s.params, s.spectral) for n, s in state.networks.items()})
    variables = {name: network.variables for name, network in state.networks.items()}

    key = jax.random.fold_in(jax.random.key(state.seed), LATENTS)
    z, y = gan.latents(key, images["real"][1].shape[0])
    # Real numbers and images have no other distribution to draw from. They are not paired: images of one may be alike.
    images = {name: (x, gan.conditions(weights, labels)) for name, (x, labels) in images.items()}
    given = gan.condition.of_data or gan.condition.kind == "image"
    y = to_float(images["real"][1]) if given else paired(y)
    moving = Moving(variables, state.extra)
    draw = lambda labels: Nets(gan, weights, moving, key)(gan.sampled, *gan.inputs(z, labels))
    samples = draw(y)
    real = {name: (gan.real_images(to_float(x), state), labels) for name, (x, labels) in images.items()}
    inputs = real | {"fake": (samples, y)}
    logits, features, pixels, agreements = {}, {}, {}, {}
    for name, (x, labels) in inputs.items():
        pixels[name] = thumbnails(x)
        if isinstance(gan, GAN):
            output, features[name] = output_and_features(gan, weights["D"], variables["D"], x, labels)
            logits[name] = gan.logit_of(output)
            if gan.num_classes > 1 and name in AGREEMENTS:
                other, _ = output_and_features(
                    gan, weights["D"], variables["D"], x, other_labels(labels, gan.num_classes)
                )
                agreements[AGREEMENTS[name]] = agreement(gan, output, other, labels)

    signals = {f"d_{name}": values.mean() for name, values in logits.items()} | agreements
    if "held_out" in logits:
        signals["d_gap"] = signals["d_real"] - signals["d_held_out"]
    if isinstance(gan, GAN):
        signals["d_accuracy"] = accuracy(logits["real"], logits["fake"])
        if gan.loss == LOSSES["hinge"]:
            signals["d_active"] = hinge_active(logits["real"], logits["fake"])
        if not gan.loss.scaled:
            signals["d_deviation"] = jnp.sqrt((jnp.var(logits["real"]) + jnp.var(logits["fake"])) / 2)
    for space, seen in (("pixel", pixels), ("feature", features)):
        if not seen:
            continue
        among = within = distance(seen["real"])
        if not given:
            within = distance_within_classes(seen["real"], images["real"][1])
        signals[f"{space}_spread"] = distance(seen["fake"]) / jnp.maximum(among, 1e-12)
        if gan.condition.kind != "text":  # Each text occurs once: the distance of two samples of one is not known.
            signals[f"{space}_diversity"] = distance_of_pairs(seen["fake"]) / jnp.maximum(within, 1e-12)
    if gan.num_classes > 1:
        moved = pixels["fake"] - thumbnails(draw(other_labels(y, gan.num_classes)))
        apart = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(moved), axis=-1)))
        signals["class_distance"] = apart / jnp.maximum(distance(pixels["fake"]), 1e-12)
    for name, network in state.networks.items():
        signals[f"{name.lower()}_norm"] = optax.global_norm(network.params)
        if values := singular[SINGULAR_NAMES.get(name, name)]:
            signals[f"{name.lower()}_sigma"] = jnp.max(jnp.stack([s[0] for s in values.values()]))
    if "G" not in state.networks:  # Rules watch the norms of all generators, and of all discriminators, together.
        for role in "GD":
            of_role = [network.params for name, network in state.networks.items() if name.startswith(role)]
            if of_role:
                signals[f"{role.lower()}_norm"] = optax.global_norm(of_role)
    if gan.sampled in state.averages:
        live, average = state.networks[gan.sampled].params, state.averages[gan.sampled]
        difference = optax.global_norm(jax.tree.map(jnp.subtract, average, live))
        signals["ema_distance"] = difference / optax.global_norm(live)
    return Probe(signals, singular)


def output_and_features(gan: GAN, weights: Params, variables: dict, x: Image, y: Label) -> tuple[Any, jax.Array]:
    """Return D's output in evaluation mode, and the inputs [B, C] of its layer `linear` (without one, its logits)."""
    network, kept = gan.networks["D"], []

    def keep(method, args, kwargs, context):
        if context.module.name == "linear":
            kept.append(args[0].reshape(len(args[0]), -1))  # The layer may be a convolution, as in DCGAN.
        return method(*args, **kwargs)

    with nn.intercept_methods(keep):
        options = {"rngs": {"params": jax.random.key(0)}, **network.mode(False)}
        out = network.module.apply({"params": weights, **variables}, x, y, **options)
    return out, kept[0] if kept else gan.logit_of(out)[:, None]


def logits_and_features(gan: GAN, weights: Params, variables: dict, x: Image, y: Label) -> tuple[Logit, jax.Array]:
    """Return D's logits, and features as `output_and_features` does."""
    output, features = output_and_features(gan, weights, variables, x, y)
    return gan.logit_of(output), features


def thumbnails(x: Image) -> jax.Array:
    """Average images to about 16 x 16 pixels, if they are larger; returns [B, pixels]. Vectors are unchanged."""
    if x.ndim == 2:
        return jnp.asarray(x)
    window = tuple(max(size // 16, 1) for size in x.shape[1:3])
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
