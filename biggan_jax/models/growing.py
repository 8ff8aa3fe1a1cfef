"""A GAN whose networks grow: what it adds to a GAN of fixed size (Karras et al. 2018, section 2).

Weights of all stages exist from the start, so that checkpoints have one shape. G and D have a variable `lod`, the level of
detail of their last step, and a field `stage`: its layers alone are computed. Without a stage, all are, on images of full
size, which gives the same images, losses and gradients.
"""

import dataclasses
import functools
import math
from typing import Any, Self

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh

from biggan_jax import growth, sharding
from biggan_jax.gan import GAN
from biggan_jax.growth import Growth, blend, scale_gradient
from biggan_jax.layers.resample import average_pool, upsample
from biggan_jax.models.optimizers import scale_by_step
from biggan_jax.schedules import HalfLife, Schedule
from biggan_jax.state import NetworkState, TrainState
from biggan_jax.types import Image, UserError

COLLECTION = "growth"
"""The Flax collection of the networks' variable `lod`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowingGAN(GAN):
    """See the top of this file. stage: that of the step; None: any, in images of full size."""

    growth: Growth
    stage: int | None = None

    def in_step(self, step: int) -> Self:
        """Return the GAN of the stage that a step trains, always the same object."""
        stage = self.growth.stage_at(step)
        if stage not in self._stages:
            networks = {
                name: dataclasses.replace(network, module=network.module.clone(stage=stage))
                for name, network in self.networks.items()
            }
            self._stages[stage] = dataclasses.replace(self, networks=networks, stage=stage)
        return self._stages[stage]

    @functools.cached_property
    def _stages(self) -> dict[int, Self]:
        return {}

    def before_step(self, state: TrainState) -> TrainState:
        """Set the level of detail, and reset optimizers where a fade begins or ends."""
        lod, reset = self.growth.lod_at(state.step), self.growth.resets_at(state.step)

        def one(name: str, network: NetworkState) -> NetworkState:
            initial = self.networks[name].optimizer.init(network.params)
            opt_state = jax.tree.map(lambda new, old: jnp.where(reset, new, old), initial, network.opt_state)
            return network.replace(opt_state=opt_state, variables={**network.variables, COLLECTION: {"lod": lod}})

        return state.replace(networks={name: one(name, network) for name, network in state.networks.items()})

    def real_images(self, images: Image, state: TrainState) -> Image:
        """Return images of the stage's size, or of full size without a stage, faded like fake ones."""
        lod, last = state.networks["D"].variables[COLLECTION]["lod"], self.growth.last
        images = jnp.asarray(images)
        if self.stage is not None:
            while images.shape[1] > self.image_shape[0] >> (last - self.stage):
                images = average_pool(images)
            if self.stage == self.growth.first:
                return images
            return blend(images, upsample(average_pool(images)), fade(lod, last, self.stage))
        small = images
        for i in range(last - self.growth.first):
            small = old = average_pool(small)
            for _ in range(i + 1):
                old = upsample(old)
            images = blend(images, old, fade(lod, last, last - i))
        return images

    def batch_shape(self, batch_size: int) -> tuple[int, ...]:
        """Return the shape of a minibatch of the stage, or of full-size images without a stage."""
        if self.stage is None:
            return batch_size, *self.image_shape
        height, width, channels = self.image_shape
        smaller = self.growth.last - self.stage
        return self.growth.batch_sizes[self.stage], height >> smaller, width >> smaller, channels

    def penalised_images(self, x: Image) -> Image:
        """Return x, whose gradient is that by full-size images: its norm is smaller by the factor of its size."""
        return x if self.stage is None else scale_gradient(x, 0.5 ** (self.growth.last - self.stage))


def fade(lod: jax.Array, last: int, stage: int) -> jax.Array:
    """Return the share of the stage before in images of a stage, at a level of detail."""
    return jnp.clip(lod - (last - stage), 0, 1)


def with_rates(gan: GrowingGAN) -> GrowingGAN:
    """Return the GAN whose learning rates, and the half-life of its average, follow its growth."""
    if isinstance(gan.ema_decay_over_steps, HalfLife):
        gan = dataclasses.replace(gan, ema_decay_over_steps=HalfLifeInGrowth(gan.ema_decay_over_steps, gan.growth))
    if set(gan.growth.lr_factors) == {1.0}:
        return gan
    rates = scale_by_step(gan.growth.lr_factor_at)
    networks = {
        name: dataclasses.replace(network, optimizer=optax.chain(network.optimizer, rates))
        for name, network in gan.networks.items()
    }
    return dataclasses.replace(gan, networks=networks)


@dataclasses.dataclass(frozen=True)
class HalfLifeInGrowth:
    """The decay of an average over steps, by its half-life in images; steps have the batch sizes of their stages."""

    constant: HalfLife
    growth: Growth

    def __call__(self, step: jax.Array | int) -> jax.Array:
        if isinstance(self.constant.images, Schedule):  # `check` allows it with one batch size alone.
            return self.constant(step)
        images = jnp.float32(self.constant.images)
        if self.constant.ramp:
            images = jnp.minimum(images, self.constant.ramp * self.growth.seen_at(step).astype(jnp.float32))
        return 0.5 ** (self.growth.batch_size_at(step) / jnp.maximum(images, 1e-8))


def check(config: ml_collections.ConfigDict, own: Growth, mesh: Mesh | None, group: int) -> None:
    """Raise UserError for keys that do not fit a growing network. group: images that D compares, 0 if it compares none."""
    used = set(own.batch_sizes[own.first :])
    of_images = [f"schedule.{name}" for name in config.schedule if config.schedule[name]]
    if len(used) > 1 and of_images:
        raise UserError(
            f"{of_images[0]} counts images as batch_size times steps, but model.batch_sizes changes the size; use "
            "model.lr_factors, ema.half_life, or one size"
        )
    for size in sorted(used):
        name = "batch_size" if size == config.batch_size else "each of model.batch_sizes"
        if size % config.microbatches:
            raise UserError(f"{name} ({size}) must be a multiple of microbatches={config.microbatches}")
        sharding.check_batch_size(size, 1 if mesh is None else mesh.size, config.microbatches)
        part = size // config.microbatches
        if group and part % min(group, part):
            near = math.gcd(group, part)
            raise UserError(
                f"model.stddev_group={group} does not divide {part}, the images that D sees at once; use {near}, for example"
            )


def of(config: ml_collections.ConfigDict) -> Growth:
    """Return the growth of a config that has one."""
    found: Any = growth.of(config)
    return found
