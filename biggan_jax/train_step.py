"""Owns one round of the game, as Algorithm 1 of GAN papers gives it; the only file that knows the order of play.

It must not know where batches come from, what a config is, or what devices there are.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from biggan_jax.gan import GAN
from biggan_jax.losses import accuracy, hinge_active
from biggan_jax.penalties import gradient_penalty
from biggan_jax.state import Player, TrainState
from biggan_jax.types import Batch, Image, Label, Latent, Metrics, Params


def train_step(gan: GAN, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """One round: d_steps updates of D, one of G, one Polyak average. Brock et al. 2019, sec. 3 and App. C.

    An update whose loss or gradient is not finite is not applied; d_faults [d_steps, ...] and g_faults say so.
    """
    G, D = state.generator, state.discriminator
    batch_size = batch["image"].shape[1]
    *d_keys, g_key = jax.random.split(state.step_key(), gan.d_steps + 1)
    d_faults = []
    for x, y, key in zip(batch["image"], batch["label"], d_keys, strict=True):
        z_key, key = jax.random.split(key)
        G, D, d_metrics = update_discriminator(gan, G, D, (to_float(x), y), gan.latents(z_key, batch_size), key)
        d_faults.append(d_metrics["d_faults"])
    z_key, key = jax.random.split(g_key)
    G, D, g_metrics = update_generator(gan, G, D, gan.latents(z_key, batch_size), key)
    ema_params = polyak_average(gan, state.step, state.ema_params, G.params)
    state = state.replace(step=state.step + 1, generator=G, discriminator=D, ema_params=ema_params)
    return state, d_metrics | g_metrics | {"d_faults": jnp.stack(d_faults)}


def update_discriminator(
    gan: GAN, G: Player, D: Player, real: tuple[Image, Label], latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of D on real images, float32 in [-1, 1], and on G's images for `latents`; moves G's stats. `key`: augmentation."""

    def gradient(d_weights, g_weights, batch_stats, batch, key):
        x, y, z, fake_y = batch
        fake, batch_stats = gan.generate(g_weights, batch_stats, z, fake_y)
        of_chunk = lambda *chunk: jax.grad(discriminator_loss, argnums=1, has_aux=True)(gan, d_weights, *chunk)
        grads, metrics = mean_over_chunks(gan, of_chunk, (x, y, fake, fake_y), key)
        return grads, (batch_stats, metrics)

    batch_stats = G.stats["batch_stats"]
    grads, d_vectors, g_vectors, batch_stats, metrics = accumulate(
        gan, gradient, D, G, batch_stats, real + latents, key
    )
    if gan.d_ortho:
        metrics["d_ortho"], penalty = jax.value_and_grad(gan.weight_penalty)(D.params, gan.d_ortho)
        grads = add(grads, penalty)
    new_G = G.replace(stats={"spectral": g_vectors, "batch_stats": batch_stats})
    new_D = D.apply_gradients(gan.d_optimizer, grads).replace(stats={"spectral": d_vectors})
    metrics["d_grad_norm"], metrics["d_faults"] = norm_and_faults(grads, new_D.params, metrics["d_loss"])
    return *unless(metrics["d_faults"], (new_G, new_D), (G, D)), metrics


def discriminator_loss(gan: GAN, weights: Params, batch: tuple, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """The mean of D's loss on real and fake images (x, y, fake, fake_y), with its penalty on their gradients."""
    x, y, fake, fake_y = batch
    key, r1_key = jax.random.split(key)
    logits = gan.discriminate(weights, interleave(x, fake), interleave(y, fake_y), key)
    real_logits, fake_logits = logits.reshape(-1, 2).T
    real_loss, fake_loss = gan.loss.discriminator(real_logits, fake_logits)
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
    if gan.r1:
        metrics["d_r1"] = gradient_penalty(lambda x: gan.discriminate(weights, x, y, r1_key), x)
        penalty = gan.r1 * metrics["d_r1"]
    return real_loss + fake_loss + penalty, metrics


def update_generator(
    gan: GAN, G: Player, D: Player, latents: tuple[Latent, Label], key: jax.Array
) -> tuple[Player, Player, Metrics]:
    """One update of G, scored by D as it now is; moves D's stats. `key`: augmentation."""

    def gradient(g_weights, d_weights, batch_stats, batch, key):
        z, y = batch
        generate = lambda g_weights: gan.generate(g_weights, batch_stats, z, y)
        fake, pullback, batch_stats = jax.vjp(generate, g_weights, has_aux=True)

        score = lambda x, y, key: gan.loss.generator(gan.discriminate(d_weights, x, y, key))
        loss, to_fake = value_and_gradient_in_chunks(gan, score, fake, y, key)
        return *pullback(to_fake), (batch_stats, {"g_loss": loss})

    batch_stats = G.stats["batch_stats"]
    grads, g_vectors, d_vectors, batch_stats, metrics = accumulate(gan, gradient, G, D, batch_stats, latents, key)
    if gan.g_ortho:
        metrics["g_ortho"], penalty = jax.value_and_grad(gan.weight_penalty)(G.params, gan.g_ortho)
        grads = add(grads, penalty)
    new_G = G.apply_gradients(gan.g_optimizer, grads).replace(stats={"spectral": g_vectors, "batch_stats": batch_stats})
    new_D = D.replace(stats={"spectral": d_vectors})
    metrics["g_grad_norm"], metrics["g_faults"] = norm_and_faults(grads, new_G.params, metrics["g_loss"])
    return *unless(metrics["g_faults"], (new_G, new_D), (G, D)), metrics


def norm_and_faults(grads: Params, params: Params, loss: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradient's Euclidean length, and what is not finite: bool [weights + 1], weights or their gradients, in order, then the loss.

    The loss alone would not tell: a ReLU may turn what is no number into 0, as it does on CPU.
    """
    squares = lambda tree: jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)])
    of_grads = squares(grads)
    return jnp.sqrt(of_grads.sum()), ~jnp.isfinite(jnp.append(of_grads + squares(params), loss))


def unless(faults: jax.Array, new: tuple[Player, Player], old: tuple[Player, Player]) -> tuple[Player, Player]:
    """The new players, or, if anything is at fault, the old ones, to the last singular vector and running moment."""
    return jax.tree.map(lambda old, new: jnp.where(faults.any(), old, new), old, new)


def accumulate(gan: GAN, gradient, updated: Player, other: Player, batch_stats: Params, batch: tuple, key: jax.Array):
    """The gradient of a loss with respect to `updated`'s raw weights, averaged over microbatches of `batch`.

    gradient(weights of `updated`, weights of `other`, G's running moments, a microbatch, key) returns (gradient, (moved
    moments, metrics)). Batch norm sees one microbatch at a time. Normalised weights and their gradient are shared by all
    microbatches, or, with `spectral_advance` microbatch, made anew for each. Returns what else has moved, too: (gradient,
    singular vectors of `updated`, those of `other`, G's running moments, mean metrics).
    """
    grads, metrics = None, None
    vectors, other_vectors = updated.stats["spectral"], other.stats["spectral"]
    for i in range(gan.spectral_advances):
        normalize = functools.partial(gan.normalize, vectors=vectors)
        weights, pullback, vectors = jax.vjp(normalize, updated.params, has_aux=True)
        other_weights, other_vectors = gan.normalize(other.params, other_vectors)
        # The one place where weights, kept in parts, meet the batch; and below, where gradients go back to the parts.
        weights, other_weights = gan.gather((weights, other_weights))
        gradient_of = functools.partial(gradient, weights, other_weights)
        part, part_key = every(batch, gan.spectral_advances, i), jax.random.fold_in(key, i)
        batch_stats, (part_grads, part_metrics) = sum_over_microbatches(gan, gradient_of, batch_stats, part, part_key)
        grads, metrics = add(grads, *pullback(gan.scatter(part_grads))), add(metrics, part_metrics)
    grads, metrics = jax.tree.map(lambda x: x / gan.microbatches, (grads, metrics))
    return grads, vectors, other_vectors, batch_stats, metrics


def sum_over_microbatches(gan: GAN, gradient, batch_stats: Params, batch: tuple, key: jax.Array):
    """(G's running moments, (gradient, metrics) summed) of the microbatches between two power steps."""
    parts = gan.microbatches // gan.spectral_advances

    def one(j, batch_stats):
        grads, (batch_stats, metrics) = gradient(batch_stats, every(batch, parts, j), jax.random.fold_in(key, j))
        return batch_stats, (grads, metrics)

    return one_after_another(gan, parts, one, batch_stats)


def mean_over_chunks(gan: GAN, function, batch: tuple, key: jax.Array):
    """The mean of function(chunk of `batch`, key) over D's chunks. As D has no batch norm, it is that of the whole batch."""

    def one(i, _):
        return None, function(every(batch, gan.d_chunks, i), jax.random.fold_in(key, i))

    _, total = one_after_another(gan, gan.d_chunks, one, None)
    return jax.tree.map(lambda x: x / gan.d_chunks, total)


def value_and_gradient_in_chunks(gan: GAN, loss, x: Image, y: Label, key: jax.Array) -> tuple[jax.Array, Image]:
    """Of loss(x, y, key), a mean over images: its value, and its gradient with respect to x, taken chunk after chunk."""

    def one(i, gradient):
        (chunk, chunk_y), chunk_key = every((x, y), gan.g_chunks, i), jax.random.fold_in(key, i)
        value, part = jax.value_and_grad(lambda chunk: loss(chunk, chunk_y, chunk_key) / gan.g_chunks)(chunk)
        return place(gradient, jnp.moveaxis(part, 3, 1), gan.g_chunks, i), value

    # Colours first: where three of them are last, a TPU stores 128.
    gradient, value = one_after_another(gan, gan.g_chunks, one, jnp.zeros_like(jnp.moveaxis(x, 3, 1)))
    return value, jnp.moveaxis(gradient, 1, 3)


def one_after_another(gan: GAN, times: int, one, carry):
    """(last carry, sum of results) of one(i, carry) -> (carry, result) for i = 0 ... times - 1; a loop where those are cheap."""

    def step(i, carry_and_sums):
        carry, sums = carry_and_sums
        carry, result = one(i, carry)
        return carry, add(sums, result)

    carried = carry, None
    if gan.loops and times > 1:
        sums = jax.tree.map(jnp.zeros_like, jax.eval_shape(functools.partial(one, 0), carry)[1])
        return jax.lax.fori_loop(0, times, step, (carry, sums))
    for i in range(times):
        carried = step(i, carried)
    return carried


def polyak_average(gan: GAN, step: jax.Array, average: Params, params: Params) -> Params:
    """The average of G's parameters after the round that started at `step`."""
    with jax.named_scope("average"):
        return optax.incremental_update(params, average, 1 - gan.ema_decay_at(step))


def every(batch: tuple[jax.Array, ...], step: int, start: int | jax.Array) -> tuple[jax.Array, ...]:
    """Every step-th example from `start` on. Unlike a contiguous part of the batch it has examples of every device."""
    pick = lambda x: jax.lax.dynamic_index_in_dim(x.reshape(-1, step, *x.shape[1:]), start, axis=1, keepdims=False)
    return tuple(pick(x) for x in batch)


def place(batch: jax.Array, part: jax.Array, step: int, start: int | jax.Array) -> jax.Array:
    """The way back: the batch, of which every step-th example from `start` on is `part`'s."""
    whole = batch.reshape(-1, step, *batch.shape[1:])
    return jax.lax.dynamic_update_index_in_dim(whole, part, start, axis=1).reshape(batch.shape)


def interleave(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Real, fake, real, fake: [2 B, ...]. One after the other, half of a batch that is split would change its device."""
    return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:])


def add(total, more):
    """The sum of two trees; `more` alone where there is no total yet."""
    return more if total is None else jax.tree.map(jnp.add, total, more)


def to_float(images: Image) -> Image:
    """uint8 in [0, 255] to float32 in [-1, 1], on the device: a quarter of the traffic from the host."""
    return images.astype(jnp.float32) / 127.5 - 1.0
