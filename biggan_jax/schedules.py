"""Schedules: values that change with the images seen in training. They follow the step, whatever a checkpoint's optimizer has done."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from biggan_jax.config import choose
from biggan_jax.types import UserError

OverSteps = Callable[[jax.Array], jax.Array]
"""The number of steps done to a value."""

SHAPES = {
    "constant": lambda done: jnp.ones_like(done),
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + jnp.cos(math.pi * done)) / 2,
}
"""Share of a part's first value that is left when a share `done` of its images is seen; the rest is its last value."""


class Part(NamedTuple):
    """A schedule's part: from the first value to the last, over `images` images."""

    shape: str
    first: float
    last: float
    images: float

    def at(self, images: jax.Array) -> jax.Array:
        """Return the value at images seen since the part began."""
        left = SHAPES[self.shape](jnp.clip(images / self.images, 0, 1))
        return self.last + (self.first - self.last) * left


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A value over steps of training: parts, one after another; the last value stays.

    batch_size: images per step, whatever the number of D's updates.
    """

    parts: tuple[Part, ...]
    batch_size: int

    def __call__(self, step: jax.Array | int) -> jax.Array:
        images, begin = jnp.float32(step) * self.batch_size, 0.0
        value = self.parts[0].at(images)
        for before, part in itertools.pairwise(self.parts):
            begin += before.images
            value = jnp.where(images < begin, value, part.at(images - begin))
        return value

    def times(self, factor: float) -> "Schedule":
        """Return the schedule of values times `factor`."""
        parts = [part._replace(first=part.first * factor, last=part.last * factor) for part in self.parts]
        return dataclasses.replace(self, parts=tuple(parts))


@dataclasses.dataclass(frozen=True)
class HalfLife:
    """The decay of an average over steps, from the images after which half of an old value is forgotten (Karras et al. 2020).

    ramp: the half-life is at most this share of the images seen; 0: no limit.
    """

    images: float | Schedule
    ramp: float
    batch_size: int

    def __call__(self, step: jax.Array | int) -> jax.Array:
        images = self.images(step) if isinstance(self.images, Schedule) else jnp.float32(self.images)
        if self.ramp:
            images = jnp.minimum(images, self.ramp * jnp.float32(step) * self.batch_size)
        return 0.5 ** (self.batch_size / jnp.maximum(images, 1e-8))


def parse(text: str, batch_size: int, what: str = "schedule") -> Schedule | None:
    """Return the schedule that a config's string describes; None if it is empty. Raises UserError, which calls it `what`.

    Parts are separated by commas: linear:FIRST:LAST:IMAGES, cosine:FIRST:LAST:IMAGES, constant:VALUE:IMAGES.

    >>> float(parse("cosine:0.9:0.99:2e7", 256)(0))
    0.8999999761581421
    """
    return Schedule(tuple(_part(part, what) for part in text.split(",")), batch_size) if text else None


def _part(text: str, what: str) -> Part:
    shape, *fields = text.strip().split(":")
    choose(SHAPES, what, shape)
    fields = fields[:1] + fields if shape == "constant" else fields
    try:
        first, last, images = map(float, fields)
    except ValueError:
        form = "constant:VALUE:IMAGES" if shape == "constant" else f"{shape}:FIRST:LAST:IMAGES"
        raise UserError(f"{what} {text!r} is not {form}, such as cosine:1:0.25:2e7") from None
    if not (0 <= first < math.inf and 0 <= last < math.inf and 0 < images < math.inf):
        raise UserError(f"{what} {text!r}: values must be at least 0, and images greater than 0")
    return Part(shape, first, last, images)


def of(config: ml_collections.ConfigDict, name: str) -> Schedule | None:
    """Return the schedule of a key in config.schedule, or None if it is empty. Raises UserError."""
    return parse(config.schedule[name], config.batch_size, f"schedule.{name}")


def in_place_of(config: ml_collections.ConfigDict, name: str, key: str, unset: float) -> Schedule | None:
    """Return the schedule that replaces a constant key. Raises UserError if the constant is neither unset nor its first value."""
    schedule = of(config, name)
    section, _, last = key.partition(".")
    value = config[section][last]
    if schedule and value not in (unset, schedule.parts[0].first):
        first = f"{schedule.parts[0].first:g}"
        raise UserError(
            f"{key}={value:g} has no effect with schedule.{name}; set it to {first}, the schedule's first value"
        )
    return schedule


def learning_rate(config: ml_collections.ConfigDict, rate: float, updates_per_step: int) -> OverSteps | None:
    """Return the factor of a learning rate over steps, or None if it is constant. Raises UserError."""
    own, by_images = config.optimizer, of(config, "lr")
    if own.decay == "constant":
        return by_images
    if by_images:
        raise UserError(f"schedule.lr and optimizer.decay={own.decay} both change the learning rates; use one of them")
    if own.decay == "exponential":
        if own.decay_factor >= 1:
            raise UserError(f"optimizer.decay=exponential needs optimizer.decay_factor below 1, not {own.decay_factor}")
        least = own.least_lr / rate
        return lambda step: jnp.maximum(own.decay_factor ** jnp.float32(step * updates_per_step), least)
    start, end = own.decay_start, own.decay_end
    if start >= end:
        raise UserError(
            f"optimizer.decay=linear needs optimizer.decay_end, the step at which rates are 0, above decay_start {start}"
        )
    return lambda step: jnp.clip((end - step) / (end - start), 0, 1)


def momentum(config: ml_collections.ConfigDict) -> OverSteps:
    """Return sgd's momentum over steps: constant, or growing linearly to its last value."""
    own = config.optimizer
    if not own.momentum_end:
        return lambda step: jnp.float32(own.momentum)
    share = lambda step: jnp.clip(step / own.momentum_end, 0, 1)
    return lambda step: own.momentum + (own.last_momentum - own.momentum) * share(step)


def beta2(config: ml_collections.ConfigDict) -> Schedule | None:
    """Return Adam's or RMSProp's beta2 over steps, or None if it is constant. Raises UserError."""
    schedule = in_place_of(config, "b2", "optimizer.b2", 0.999)
    if schedule and config.optimizer.name == "sgd":
        raise UserError("schedule.b2 has no effect with optimizer.name=sgd")
    if schedule and any(part.first >= 1 or part.last >= 1 for part in schedule.parts):
        raise UserError(f"schedule.b2 {config.schedule.b2!r}: values must be less than 1")
    return schedule


def ema_half_life(config: ml_collections.ConfigDict) -> HalfLife | None:
    """Return the decay of G's average by its half-life, or None if ema.decay gives it. Raises UserError."""
    own, schedule = config.ema, in_place_of(config, "ema_half_life", "ema.half_life", 0.0)
    if not (schedule or own.half_life):
        if own.ramp:
            raise UserError(f"ema.ramp={own.ramp:g} has no effect without ema.half_life or schedule.ema_half_life")
        return None
    return HalfLife(schedule or own.half_life, own.ramp, config.batch_size)
