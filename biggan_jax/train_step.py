"""Owns one round of the game, as Algorithm 1 of GAN papers gives it; the only file that knows the order of play.

It must not know where batches come from, what a config is, or what devices there are.
"""

import jax
import jax.numpy as jnp
import optax

from biggan_jax.gan import GAN
from biggan_jax.state import Player, TrainState
from biggan_jax.types import Batch, Image, Label, Latent, Metrics


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
    ema_params = optax.incremental_update(G.params, state.ema_params, 1 - gan.ema_decay_at(state.step))
    state = state.replace(step=state.step + 1, generator=G, discriminator=D, ema_params=ema_params)
    return state, d_metrics | g_metrics


def update_discriminator(
    gan: GAN, G: Player, D: Player, real: tuple[Image, Label], latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of D on real images, float32 in [-1, 1], and on G's images for `latents`; moves G's stats. `key`: augmentation."""
    (x, y), (z, fake_y) = real, latents
    real_key, fake_key = jax.random.split(key)
    g_weights, g_u = gan.normalize(G.params, G.stats["spectral"])
    fake, batch_stats = gan.generate(g_weights, G.stats["batch_stats"], z, fake_y)
    d_weights, pullback, d_u = jax.vjp(lambda p: gan.normalize(p, D.stats["spectral"]), D.params, has_aux=True)

    def loss(weights):
        # Real and fake apart: concatenated along the sharded batch axis they would have to move between devices.
        real_logits = gan.discriminate(weights, x, y, real_key)
        fake_logits = gan.discriminate(weights, fake, fake_y, fake_key)
        real_loss, fake_loss = gan.loss.discriminator(real_logits, fake_logits)
        metrics = {
            "d_loss": real_loss + fake_loss,
            "d_loss_real": real_loss,
            "d_loss_fake": fake_loss,
            "d_real": real_logits.mean(),
            "d_fake": fake_logits.mean(),
        }
        return real_loss + fake_loss, metrics

    grads, metrics = jax.grad(loss, has_aux=True)(d_weights)
    D = D.apply_gradients(gan.d_optimizer, *pullback(grads))
    G = G.replace(stats={"spectral": g_u, "batch_stats": batch_stats})
    return G, D.replace(stats={"spectral": d_u}), metrics


def update_generator(
    gan: GAN, G: Player, D: Player, latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of G, scored by D as it now is; moves D's stats. `key`: augmentation."""
    z, y = latents
    g_weights, pullback, g_u = jax.vjp(lambda p: gan.normalize(p, G.stats["spectral"]), G.params, has_aux=True)
    d_weights, d_u = gan.normalize(D.params, D.stats["spectral"])

    def loss(weights):
        fake, batch_stats = gan.generate(weights, G.stats["batch_stats"], z, y)
        value = gan.loss.generator(gan.discriminate(d_weights, fake, y, key))
        return value, ({"g_loss": value}, batch_stats)

    grads, (metrics, batch_stats) = jax.grad(loss, has_aux=True)(g_weights)
    G = G.apply_gradients(gan.g_optimizer, *pullback(grads))
    G = G.replace(stats={"spectral": g_u, "batch_stats": batch_stats})
    return G, D.replace(stats={"spectral": d_u}), metrics


def to_float(images: Image) -> Image:
    """uint8 in [0, 255] to float32 in [-1, 1], on the device: a quarter of the traffic from the host."""
    return images.astype(jnp.float32) / 127.5 - 1.0
