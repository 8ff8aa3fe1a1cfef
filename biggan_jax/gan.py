"""Owns GAN, the static description of one game: two networks, their latents, loss and optimisers. Must not know the order of play."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from biggan_jax import augment, penalties
from biggan_jax.latents import draw
from biggan_jax.layers import spectral
from biggan_jax.losses import Loss
from biggan_jax.sharding import constrain_batch, gather, scatter
from biggan_jax.types import Image, Label, Latent, Logit, Params, Tree


@dataclasses.dataclass(frozen=True)
class GAN:
    """What stays the same through training; jitted functions close over it."""

    generator: nn.Module
    discriminator: nn.Module
    dim_z: int
    num_classes: int
    loss: Loss
    g_optimizer: optax.GradientTransformation
    d_optimizer: optax.GradientTransformation
    d_steps: int = 1
    ema_decay: float = 0.9999
    ema_start: int = 0
    prior: str = "normal"
    init: str = "orthogonal"
    microbatches: int = 1
    d_chunks: int = 1
    spectral_advance: str = "update"
    spectral_eval: str = "step"
    spectral_eps: float = 1e-4
    spectral_iterations: int = 1
    g_spectral_norm: bool = True
    d_spectral_norm: bool = True
    g_ortho: float = 0.0
    d_ortho: float = 0.0
    ortho_factor: float = 4.0
    r1: float = 0.0
    augment_policy: tuple[str, ...] = ()
    mesh: Mesh | None = None
    remat: bool = False
    shard_update: bool = True
    loops: bool = False

    @property
    def spectral_advances(self) -> int:
        """Power steps an update: one, or one for each microbatch."""
        return self.microbatches if self.spectral_advance == "microbatch" else 1

    @property
    def g_chunks(self) -> int:
        """Parts in which D works through G's images as G is updated: half as many, since there are no real ones, if that is whole."""
        return self.d_chunks if self.d_chunks % 2 else self.d_chunks // 2

    def normalize(self, params: Params, vectors: spectral.Vectors) -> tuple[Params, spectral.Vectors]:
        """Spectral normalisation in training, with this game's settings: (params / sigma, new vectors)."""
        with jax.named_scope("spectral_norm"):
            return spectral.normalize(params, vectors, eps=self.spectral_eps, iterations=self.spectral_iterations)

    def evaluation_weights(self, params: Params, vectors: spectral.Vectors) -> Params:
        """params / sigma in evaluation: by one power step whose vectors are discarded, or by the stored vectors."""
        if self.spectral_eval == "stored":
            return spectral.normalize_stored(params, vectors)
        return self.evaluation_step(params, vectors)[0]

    def evaluation_step(self, params: Params, vectors: spectral.Vectors) -> tuple[Params, spectral.Vectors]:
        """The one power step of evaluation: (params / sigma, the vectors that gave it)."""
        return spectral.normalize(params, vectors, eps=self.spectral_eps)

    def gather(self, weights: Tree) -> Tree:
        """Normalised weights, whole on every device of the mesh: what the networks are applied with."""
        return gather(weights, self.mesh)

    def scatter(self, grads: Params) -> Params:
        """Gradients in the parts in which their weights are kept and updated."""
        return scatter(grads, self.mesh, split_over_data=self.shard_update)

    def latents(self, key: jax.Array, batch_size: int) -> tuple[Latent, Label]:
        """z [B, dim_z] of the game's prior, and y uniform over the classes, [B]; both split over the mesh."""
        z_key, y_key = jax.random.split(key)
        z = draw(self.prior, z_key, batch_size, self.dim_z)
        y = jax.random.randint(y_key, (batch_size,), 0, max(self.num_classes, 1))
        return constrain_batch(z, self.mesh), constrain_batch(y, self.mesh)

    def generate(self, weights: Params, batch_stats: Params, z: Latent, y: Label) -> tuple[Image, Params]:
        """G in training mode with normalised weights: images of batch statistics, and the moved `batch_stats`."""

        def generate(weights, batch_stats, z, y):
            variables = {"params": weights, "batch_stats": batch_stats}
            images, moved = self.generator.apply(variables, z, y, train=True, mutable=["batch_stats"])
            return images, moved["batch_stats"]

        return self._forget(generate)(weights, batch_stats, z, y)

    def discriminate(self, weights: Params, x: Image, y: Label, key: jax.Array) -> Logit:
        """D with normalised weights, on images augmented by the game's policy."""

        def discriminate(weights, x, y, key):
            return self.discriminator.apply({"params": weights}, augment.apply(x, key, self.augment_policy), y)

        return self._forget(discriminate)(weights, x, y, key)

    def _forget(self, network):
        """The network's function, of whose activations, with `remat`, none outlives the forward pass."""
        return jax.checkpoint(network) if self.remat else network

    def weight_penalty(self, params: Params, strength: float) -> jax.Array:
        """The orthogonal penalty on raw weights. Its gradient is `ortho_factor` (W W^T o (1 - I)) W: 4 is the paper's."""
        with jax.named_scope("penalty"):
            return strength * (self.ortho_factor / 4) * penalties.orthogonal(params)

    def ema_decay_at(self, step: jax.Array) -> jax.Array:
        """The decay in the round that starts at `step`: 0, so that the average is a copy, before round `ema_start`."""
        return jnp.where(step + 1 < self.ema_start, 0.0, self.ema_decay)
