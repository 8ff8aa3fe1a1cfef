"""Owns what training changes: two players and the average of one. Must not know how it is changed."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from biggan_jax.gan import GAN
from biggan_jax.layers import initializers, spectral
from biggan_jax.types import Params


class Player(flax.struct.PyTreeNode):
    """One network's weights and what follows them.

    params move by the optimiser. stats (`spectral`: singular vectors, and for G `batch_stats`: running moments) move by
    any forward pass in training, so an update of one player moves the other's stats too.
    """

    params: Params
    stats: dict[str, Params]
    opt_state: Any

    def apply_gradients(self, optimizer: optax.GradientTransformation, grads: Params) -> "Player":
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
            return self.replace(params=optax.apply_updates(self.params, updates), opt_state=opt_state)


class TrainState(flax.struct.PyTreeNode):
    """Everything that a checkpoint must hold. All leaves are arrays.

    step counts generator updates done. Randomness derives from (seed, attempt, step) alone: attempt is 0, and only a
    return to an earlier checkpoint with new latents and data order raises it.
    """

    step: jax.Array
    seed: jax.Array
    attempt: jax.Array
    generator: Player
    discriminator: Player
    ema_params: Params

    def step_key(self) -> jax.Array:
        """The key of all that is random in the round that starts at `step`."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), self.attempt), self.step)


def init_state(gan: GAN, seed: jax.Array | int) -> TrainState:
    """A fresh state. Pure, so that `jax.eval_shape` gives its shapes and jit lays it out on a mesh."""
    g_key, gu_key, d_key, du_key, latent_key = jax.random.split(jax.random.key(seed), 5)
    z, y = gan.latents(latent_key, 1)
    resolution = gan.generator.resolution

    g_variables = gan.generator.init(g_key, z, y, train=True)
    g_params = initializers.redraw(g_variables["params"], gan.init, g_key)
    g_rule = spectral.kernels if gan.g_spectral_norm else spectral.no_weights
    keep_v = gan.spectral_eval == "stored"
    g_stats = {
        "spectral": spectral.init(g_params, g_rule, gu_key, keep_v=keep_v),
        "batch_stats": g_variables["batch_stats"],
    }
    d_params = gan.discriminator.init(d_key, jnp.zeros((1, resolution, resolution, 3)), y)["params"]
    d_params = initializers.redraw(d_params, gan.init, d_key)
    d_rule = spectral.kernels_and_embeddings if gan.d_spectral_norm else spectral.no_weights
    d_stats = {"spectral": spectral.init(d_params, d_rule, du_key, keep_v=keep_v)}

    return TrainState(
        step=jnp.int32(0),
        seed=jnp.asarray(seed, jnp.uint32),
        attempt=jnp.int32(0),
        generator=Player(g_params, g_stats, gan.g_optimizer.init(g_params)),
        discriminator=Player(d_params, d_stats, gan.d_optimizer.init(d_params)),
        # A copy, since one buffer cannot be donated twice.
        ema_params=jax.tree.map(jnp.copy, g_params),
    )
