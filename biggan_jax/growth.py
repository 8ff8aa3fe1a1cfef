"""Progressive growing: the size of images, the fade, batch size and learning rate over steps (Karras et al. 2018, section 2).

Stage s trains the layers up to feature maps of 2^s times the smallest. The level of detail (lod), as in the authors' code, is
0 at the full size and grows by 1 with each halving; between whole numbers a new stage fades in.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from biggan_jax.types import UserError

REPEATS = 4
"""Steps in which the schedule's values stay the same, as in the authors' code."""


class Start(NamedTuple):
    """The first step of a stage, and the images seen before it."""

    stage: int
    step: int
    images: int


@dataclasses.dataclass(frozen=True)
class Growth:
    """The schedule of a growing network. Images count those of one minibatch per step.

    last: the stage of full-size images. first: that of the first step. train_images, fade_images: for which a stage trains,
    then the next one fades in. batch_sizes, lr_factors: of stages 0 ... last.
    """

    last: int
    first: int
    train_images: int
    fade_images: int
    batch_sizes: tuple[int, ...]
    lr_factors: tuple[float, ...]

    @functools.cached_property
    def starts(self) -> tuple[Start, ...]:
        """Return the start of each stage from `first` on. A stage may have none of its own, if images are few."""
        found = [Start(self.first, 0, 0)]
        for stage in range(self.first + 1, self.last + 1):
            _, step, images = found[-1]
            size = self.batch_sizes[stage - 1]
            wait = (stage - self.first - 1) * (self.train_images + self.fade_images) + self.train_images - images
            # A fade begins with the first image after the wait; without one, the new size comes at its end.
            steps = wait // size + 1 if self.fade_images else -(-wait // size)
            steps = -(-max(steps, 0) // REPEATS) * REPEATS
            found.append(Start(stage, step + steps, images + steps * size))
        return tuple(found)

    def stage_at(self, step: int) -> int:
        """Return the stage that a step trains."""
        return next(start.stage for start in reversed(self.starts) if step >= start.step)

    def images_at(self, step: int) -> int:
        """Return the images seen before a step."""
        start = self.starts[self.stage_at(step) - self.first]
        return start.images + (step - start.step) * self.batch_sizes[start.stage]

    def factor_at(self, step: int) -> int:
        """Return by how much the images of a step are smaller than full-size ones, in each direction."""
        return 2 ** (self.last - self.stage_at(step))

    def lod_at(self, step: jax.Array | int) -> jax.Array:
        """Return the level of detail of a step, float32."""
        return self.lod_of(self._images_at(step))

    def lod_of(self, images: jax.Array | int) -> jax.Array:
        """Return the level of detail after images seen, float32."""
        whole, faded = self._level(images)
        return whole - faded.astype(jnp.float32) / max(self.fade_images, 1)

    def resets_at(self, step: jax.Array | int) -> jax.Array:
        """Return whether optimizers are reset before a step: where a fade begins or ends."""
        step = jnp.asarray(step, jnp.int32)
        (whole, faded), (whole_before, faded_before) = (
            self._level(self._images_at(jnp.maximum(at, 0))) for at in (step, step - REPEATS)
        )
        changed = (whole != whole_before) | ((faded > 0) != (faded_before > 0))
        return (step > 0) & (step % REPEATS == 0) & changed

    def lr_factor_at(self, step: jax.Array | int) -> jax.Array:
        """Return the factor of learning rates of a step."""
        factors = jnp.asarray(self.lr_factors[self.first :], jnp.float32)
        return factors[self._start_of(jnp.asarray(step))]

    def batch_size_at(self, step: jax.Array | int) -> jax.Array:
        """Return the images of a step's minibatch, int32."""
        sizes = jnp.asarray(self.batch_sizes[self.first :], jnp.int32)
        return sizes[self._start_of(jnp.asarray(step))]

    def seen_at(self, step: jax.Array | int) -> jax.Array:
        """Return the images seen before a step, int32, as `images_at`, but of a step that is traced."""
        step, sizes = jnp.asarray(step, jnp.int32), [self.batch_sizes[start.stage] for start in self.starts]
        table = jnp.asarray([(start.step, start.images, size) for start, size in zip(self.starts, sizes, strict=True)])
        first, images, size = table.astype(jnp.int32)[self._start_of(step)]
        return images + (step - first) * size

    def _start_of(self, step: jax.Array) -> jax.Array:
        """Return the index in `starts` of the stage that a step trains."""
        return jnp.sum(step >= np.array([start.step for start in self.starts], np.int32)) - 1

    def _images_at(self, step: jax.Array | int) -> jax.Array:
        """Return the images seen before the step from which the schedule's values hold, int32."""
        return self.seen_at(jnp.asarray(step, jnp.int32) // REPEATS * REPEATS)

    def _level(self, images: jax.Array | int) -> tuple[jax.Array, jax.Array]:
        """Return the whole level of detail before the current fade, and the images for which that has lasted, int32."""
        images, period = jnp.asarray(images, jnp.int32), self.train_images + self.fade_images
        phase, left = divmod(images, period) if period else (jnp.zeros_like(images), jnp.zeros_like(images))
        whole = jnp.maximum(self.last - self.first - phase, 0)
        faded = jnp.maximum(left - self.train_images, 0) if self.fade_images else jnp.zeros_like(left)
        return whole, jnp.where(whole > 0, faded, 0)


def doublings(shape: tuple[int, ...]) -> int:
    """Return how often the smallest feature map, of at least 4 x 4 pixels, is doubled to make images of a shape (H, W, C).

    >>> doublings((1024, 1024, 3)), doublings((28, 28, 1))
    (8, 2)
    """
    found, (height, width) = 0, shape[:2]
    while not (height >> found) % 2 and not (width >> found) % 2 and min(height, width) >> (found + 1) >= 4:
        found += 1
    return found


def of(config: ml_collections.ConfigDict) -> Growth | None:
    """Return the growth that a config describes, or None if its family does not grow. Raises UserError."""
    model = config.model
    if "start_size" not in model:
        return None
    shape = tuple(model.image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"model.image_shape {shape} is not (height, width, channels), and these networks make images")
    if min(shape[:2]) < 4:
        raise UserError(f"model.image_shape {shape}: height and width must be at least 4")
    last = doublings(shape)
    sizes = [shape[0] >> (last - stage) for stage in range(last + 1)]
    if model.start_size not in sizes:
        raise UserError(
            f"model.start_size {model.start_size}: images of height {shape[0]} have the stages {', '.join(map(str, sizes))}"
        )
    for name in ("batch_sizes", "lr_factors"):
        if len(model[name]) > last + 1:
            raise UserError(f"model.{name} has {len(model[name])} entries, but there are {last + 1} stages")
        if min(model[name], default=1) <= 0:
            raise UserError(f"model.{name} {tuple(model[name])}: each entry must be greater than 0")
    first = sizes.index(model.start_size)
    if first < last and not model.train_images + model.fade_images:
        raise UserError(
            f"model.train_images and fade_images are 0, so that images never grow; set model.start_size={shape[0]}"
        )
    fill = lambda given, value: (*given, *(value,) * (last + 1 - len(given)))
    batch_sizes, factors = fill(model.batch_sizes, config.batch_size), fill(model.lr_factors, 1.0)
    return Growth(last, first, model.train_images, model.fade_images, batch_sizes, factors)


def reduced(images: np.ndarray, factor: int) -> np.ndarray:
    """Average factor x factor pixels of images [..., H, W, C], of any type; integers are rounded, halves to even."""
    if factor == 1:
        return images
    *leading, height, width, channels = images.shape
    means = images.reshape(*leading, height // factor, factor, width // factor, factor, channels)
    means = means.mean((-4, -2), dtype=np.float32)
    return (np.rint(means) if np.issubdtype(images.dtype, np.integer) else means).astype(images.dtype)


def blend(new: jax.Array, old: jax.Array, share: jax.Array) -> jax.Array:
    """Return `share` of the old and the rest of the new: exactly either one at 1 and 0, if both are finite."""
    return (1 - share) * new + share * old


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
    """Return x, whose gradient is multiplied by `factor`."""
    return x


scale_gradient.defvjp(lambda x, factor: (x, None), lambda factor, _, g: (factor * g,))
