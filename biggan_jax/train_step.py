"""Owns one round of the game, as Algorithm 1 of GAN papers gives it; the only file that knows the order of play.

It must not know where batches come from, what a config is, or what devices there are.
"""

import jax
import jax.numpy as jnp
import optax

from biggan_jax.gan import GAN
from biggan_jax.regularizers import gradient_penalty
from biggan_jax.state import Player, TrainState
from biggan_jax.types import Batch, Image, Label, Latent, Metrics, Params


def train_step(gan: GAN, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """One round: d_steps updates of D, one of G, one Polyak average. Brock et al. 2019, sec. 3 and App. C."""
    G, D = state.generator, state.discriminator
    batch_size = batch["image"].shape[1]
    *d_keys, g_key = jax.random.split(state.round_key(), gan.d_steps + 1)
    for x, y, key in zip(batch["image"], batch["label"], d_keys, strict=True):
        z_key, key = jax.random.split(key)
        G, D, d_metrics = update_discriminator(gan, G, D, (to_float(x), y), gan.latents(z_key, batch_size), key)
    z_key, key = jax.random.split(g_key)
    G, D, g_metrics = update_generator(gan, G, D, gan.latents(z_key, batch_size), key)
    ema_params = polyak_average(gan, state.step, state.ema_params, G.params)
    state = state.replace(step=state.step + 1, generator=G, discriminator=D, ema_params=ema_params)
    return state, d_metrics | g_metrics


def update_discriminator(
    gan: GAN, G: Player, D: Player, real: tuple[Image, Label], latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of D on real images, float32 in [-1, 1], and on G's images for `latents`; moves G's stats. `key`: augmentation."""

    def loss(d_weights: Params, x, y, fake, fake_y, key):
        real_key, fake_key = jax.random.split(key)
        # Real and fake apart: concatenated along the sharded batch axis they would have to move between devices.
        real_logits = gan.discriminate(d_weights, x, y, real_key)
        fake_logits = gan.discriminate(d_weights, fake, fake_y, fake_key)
        real_loss, fake_loss = gan.loss.discriminator(real_logits, fake_logits)
        metrics = {
            "d_loss": real_loss + fake_loss,
            "d_loss_real": real_loss,
            "d_loss_fake": fake_loss,
            "d_real": real_logits.mean(),
            "d_fake": fake_logits.mean(),
        }
        penalty = 0.0
        if gan.r1:
            metrics["d_r1"] = gradient_penalty(lambda x: gan.discriminate(d_weights, x, y, real_key), x)
            penalty = gan.r1 * metrics["d_r1"]
        return real_loss + fake_loss + penalty, metrics

    grads, metrics = None, None
    for i, part in enumerate(split(real + latents, gan.spectral_advances)):
        g_weights, g_vectors = gan.normalize(G.params, G.stats["spectral"])
        d_weights, pullback, d_vectors = jax.vjp(
            lambda p, v=D.stats["spectral"]: gan.normalize(p, v), D.params, has_aux=True
        )
        batch_stats, part_grads = G.stats["batch_stats"], None
        for j, (x, y, z, fake_y) in enumerate(split(part, gan.microbatches // gan.spectral_advances)):
            fake, batch_stats = gan.generate(g_weights, batch_stats, z, fake_y)
            part_key = jax.random.fold_in(jax.random.fold_in(key, i), j)
            micro_grads, micro_metrics = jax.grad(loss, has_aux=True)(d_weights, x, y, fake, fake_y, part_key)
            part_grads, metrics = add(part_grads, micro_grads), add(metrics, micro_metrics)
        grads = add(grads, *pullback(part_grads))
        G = G.replace(stats={"spectral": g_vectors, "batch_stats": batch_stats})
        D = D.replace(stats={"spectral": d_vectors})
    grads, metrics = mean(grads, gan.microbatches), mean(metrics, gan.microbatches)
    if gan.d_ortho:
        metrics["d_ortho"], penalty_grads = jax.value_and_grad(gan.weight_penalty)(D.params, gan.d_ortho)
        grads = add(grads, penalty_grads)
    return G, D.apply_gradients(gan.d_optimizer, grads), metrics


def update_generator(
    gan: GAN, G: Player, D: Player, latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of G, scored by D as it now is; moves D's stats. `key`: augmentation."""

    def loss(g_weights: Params, d_weights, batch_stats, z, y, key):
        fake, batch_stats = gan.generate(g_weights, batch_stats, z, y)
        value = gan.loss.generator(gan.discriminate(d_weights, fake, y, key))
        return value, (batch_stats, {"g_loss": value})

    grads, metrics = None, None
    for i, part in enumerate(split(latents, gan.spectral_advances)):
        g_weights, pullback, g_vectors = jax.vjp(
            lambda p, v=G.stats["spectral"]: gan.normalize(p, v), G.params, has_aux=True
        )
        d_weights, d_vectors = gan.normalize(D.params, D.stats["spectral"])
        batch_stats, part_grads = G.stats["batch_stats"], None
        for j, (z, y) in enumerate(split(part, gan.microbatches // gan.spectral_advances)):
            part_key = jax.random.fold_in(jax.random.fold_in(key, i), j)
            gradient = jax.grad(loss, has_aux=True)
            micro_grads, (batch_stats, micro_metrics) = gradient(g_weights, d_weights, batch_stats, z, y, part_key)
            part_grads, metrics = add(part_grads, micro_grads), add(metrics, micro_metrics)
        grads = add(grads, *pullback(part_grads))
        G = G.replace(stats={"spectral": g_vectors, "batch_stats": batch_stats})
        D = D.replace(stats={"spectral": d_vectors})
    grads, metrics = mean(grads, gan.microbatches), mean(metrics, gan.microbatches)
    if gan.g_ortho:
        metrics["g_ortho"], penalty_grads = jax.value_and_grad(gan.weight_penalty)(G.params, gan.g_ortho)
        grads = add(grads, penalty_grads)
    return G.apply_gradients(gan.g_optimizer, grads), D, metrics


def polyak_average(gan: GAN, step: jax.Array, average: Params, params: Params) -> Params:
    """The average of G's parameters after the round that started at `step`."""
    return optax.incremental_update(params, average, 1 - gan.ema_decay_at(step))


def split(batch: tuple[jax.Array, ...], parts: int) -> list[tuple[jax.Array, ...]]:
    """A batch in equal parts: part i holds every parts-th example from i on, so that none leaves its device."""
    return [tuple(x.reshape(-1, parts, *x.shape[1:])[:, i] for x in batch) for i in range(parts)]


def add(total, more):
    return more if total is None else jax.tree.map(jnp.add, total, more)


def mean(total, count: int):
    return jax.tree.map(lambda x: x / count, total) if count > 1 else total


def to_float(images: Image) -> Image:
    """uint8 in [0, 255] to float32 in [-1, 1], on the device: a quarter of the traffic from the host."""
    return images.astype(jnp.float32) / 127.5 - 1.0
