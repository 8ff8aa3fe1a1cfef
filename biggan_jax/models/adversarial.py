"""Build a GAN from a config and two modules."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh

from biggan_jax import latents
from biggan_jax.augment import POLICIES
from biggan_jax.config import choose
from biggan_jax.family import Network
from biggan_jax.gan import GAN
from biggan_jax.layers import initializers, spectral
from biggan_jax.losses import LOSSES
from biggan_jax.state import init_state
from biggan_jax.types import Condition, Label, Latent


def build(
    config: ml_collections.ConfigDict,
    mesh: Mesh | None,
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    image_shape: tuple[int, ...],
    family: type[GAN] = GAN,
    **fields,
) -> GAN:
    """Return the GAN of two modules G(z, y) and D(x, y), with the settings of `config`. Raises UserError.

    Args:
        family: GAN, or a subclass with losses of its own.
        fields: further fields of the family, in place of what `config` gives.
    """
    model, optimizer = config.model, config.optimizer
    prior, dim_z = model.get("prior", "normal"), model.get("dim_z", 0)
    latents.check_prior(prior, dim_z)
    condition = Condition("classes", model.num_classes) if model.get("num_classes", 0) else Condition()
    init = model.get("init", "orthogonal")
    choose(initializers.INITIALIZERS, "model.init", init)
    redraw = functools.partial(_redraw, init)

    def example_latents(key: jax.Array) -> tuple[Latent, Label]:
        z_key, y_key = jax.random.split(key)
        z = latents.draw(prior, z_key, 1, dim_z)
        return z, jax.random.randint(y_key, (1,), 0, max(condition.size, 1))

    networks = {
        "G": Network(
            generator,
            adam(optimizer.g_lr, optimizer),
            example_latents,
            spectral.kernels if model.get("g_spectral_norm", False) else spectral.no_weights,
            redraw,
        ),
        "D": Network(
            discriminator,
            adam(optimizer.d_lr, optimizer),
            lambda key: (jnp.zeros((1, *image_shape)), example_latents(key)[1]),
            spectral.kernels_and_embeddings if model.get("d_spectral_norm", False) else spectral.no_weights,
            redraw,
        ),
    }
    gan = family(
        **{
            "networks": networks,
            "image_shape": image_shape,
            "condition": condition,
            "dim_z": dim_z,
            "prior": prior,
            "loss": choose(LOSSES, "loss", config.loss),
            "d_steps": config.d_steps,
            "d_chunks": config.d_chunks,
            "g_ortho": config.regularizer.g_ortho,
            "d_ortho": config.regularizer.d_ortho,
            "ortho_factor": config.regularizer.ortho_factor,
            "r1": config.regularizer.r1,
            "augment_policy": augment_policy(config),
            "spectral_eval": model.get("spectral_eval", "step"),
            "spectral_eps": model.get("spectral_eps", 1e-4),
            "spectral_iterations": model.get("spectral_iterations", 1),
            **execution(config, mesh),
            **fields,
        }
    )
    if gan.d_chunks > 1:
        gan.check_chunks(jax.eval_shape(lambda: init_state(gan, 0)).networks["D"].variables)
    return gan


def execution(config: ml_collections.ConfigDict, mesh: Mesh | None) -> dict:
    """Return the fields of a Family that determine how steps are computed, and its averages."""
    return {
        "ema_decay": config.ema.decay,
        "ema_start": config.ema.start,
        "spectral_advance": config.spectral_advance,
        "microbatches": config.microbatches,
        "mesh": mesh,
        "remat": config.remat == "full",
        "shard_update": config.mesh.shard_update,
        # A loop over convolutions takes XLA minutes to compile for a CPU, and makes them slow there.
        "loops": mesh is not None and mesh.devices.flat[0].platform != "cpu",
    }


def augment_policy(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Return the names in augment.policy. The command line passes a,b as one entry, which is split here."""
    policy = tuple(name for entry in config.augment.policy for name in entry.split(","))
    for name in policy:
        choose(POLICIES, "augment.policy", name)
    return policy


def adam(learning_rate: float, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Return Adam. With b1 = 0, as in BigGAN, use the equal RMSProp with bias correction, without a first moment."""
    if config.b1 == 0.0:
        return optax.rmsprop(learning_rate, decay=config.b2, eps=config.eps, eps_in_sqrt=False, bias_correction=True)
    return optax.adam(learning_rate, b1=config.b1, b2=config.b2, eps=config.eps)


def _redraw(name: str, params, key: jax.Array):
    return initializers.redraw(params, name, key)
