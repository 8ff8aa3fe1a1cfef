"""Owns the families of GANs, by name, and how a config becomes a GAN. Must not know training."""

import ml_collections
import optax
from jax.sharding import Mesh

from biggan_jax import latents, sharding
from biggan_jax.augment import POLICIES
from biggan_jax.config import choose
from biggan_jax.gan import GAN
from biggan_jax.layers import blocked_attention, fused_attention
from biggan_jax.layers.attention import Attend, attend
from biggan_jax.layers.initializers import INITIALIZERS
from biggan_jax.losses import LOSSES
from biggan_jax.models import biggan, biggan_deep

FAMILIES = {"biggan": biggan.build, "biggan_deep": biggan_deep.build}
"""Name to build(config) -> (generator, discriminator). A new family is a new file and one line here."""


def build_gan(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """The game that `config` describes. `mesh`: the devices over which its steps are split."""
    generator, discriminator = choose(FAMILIES, "model.family", config.model.family)(config)
    generator = generator.clone(attend=attention_on(mesh, config))
    discriminator = discriminator.clone(attend=attention_on(mesh, config, twice=bool(config.regularizer.r1)))
    # On the command line a,b is one word.
    policy = tuple(name for entry in config.augment.policy for name in entry.split(","))
    for name in policy:
        choose(POLICIES, "augment.policy", name)
    choose(INITIALIZERS, "model.init", config.model.init)
    latents.check_prior(config.model.prior, config.model.dim_z)
    return GAN(
        generator=generator,
        discriminator=discriminator,
        dim_z=config.model.dim_z,
        num_classes=config.model.num_classes,
        loss=choose(LOSSES, "loss", config.loss),
        g_optimizer=adam(config.optimizer.g_lr, config.optimizer),
        d_optimizer=adam(config.optimizer.d_lr, config.optimizer),
        d_steps=config.d_steps,
        ema_decay=config.ema.decay,
        ema_start=config.ema.start,
        prior=config.model.prior,
        init=config.model.init,
        microbatches=config.microbatches,
        d_chunks=config.d_chunks,
        spectral_advance=config.spectral_advance,
        spectral_eval=config.model.spectral_eval,
        spectral_eps=config.model.spectral_eps,
        spectral_iterations=config.model.spectral_iterations,
        g_spectral_norm=config.model.g_spectral_norm,
        d_spectral_norm=config.model.d_spectral_norm,
        g_ortho=config.regularizer.g_ortho,
        d_ortho=config.regularizer.d_ortho,
        ortho_factor=config.regularizer.ortho_factor,
        r1=config.regularizer.r1,
        augment_policy=policy,
        mesh=mesh,
        remat=config.remat == "full",
        shard_update=config.mesh.shard_update,
        # A loop over convolutions takes XLA minutes to compile for a CPU, and makes them slow there.
        loops=mesh is not None and mesh.devices.flat[0].platform != "cpu",
    )


def attention_on(mesh: Mesh | None, config: ml_collections.ConfigDict, *, twice: bool = False) -> Attend:
    """What computes attention on the mesh's devices; equal but for rounding. `twice`: its gradient is differentiated, as R1 does."""
    if not twice and config.fused_attention and config.dtype == "bfloat16" and fused_attention.runs_on(mesh):
        return sharding.on_each_device(fused_attention.attend, mesh, otherwise=attend)
    if blocked_attention.runs_on(mesh):
        return sharding.on_each_device(blocked_attention.attend, mesh, otherwise=attend)
    return attend


def adam(learning_rate: float, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Adam. With b1 = 0, as in BigGAN, it is RMSProp with bias correction: equal, and no first moment is stored."""
    if config.b1 == 0.0:
        return optax.rmsprop(learning_rate, decay=config.b2, eps=config.eps, eps_in_sqrt=False, bias_correction=True)
    return optax.adam(learning_rate, b1=config.b1, b2=config.b2, eps=config.eps)
