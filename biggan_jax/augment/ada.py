"""ADA: augmentation with a probability small enough that G does not learn it (Karras et al. 2020, "Limited Data").

Each transformation of an image has a coin of its own. They are differentiable, and are applied to all that D sees. Written from
the paper; probability 0 is the identity, bit for bit.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax.augment import filters
from biggan_jax.augment.geometry import resample
from biggan_jax.types import Image

GROUPS = ("blit", "geometry", "colour", "filter", "noise", "cutout")
"""Groups of transformations, in the order in which they are applied."""

POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected power of natural images in the octave bands."""


class Transform(NamedTuple):
    """What is drawn for a transformation: `numbers` per image, normal or uniform in [0, 1), mapped by `value`.

    neutral: the value where the coin does not choose the image. turn: one of two rotations, which share a probability.
    """

    group: str
    normal: bool
    value: Callable[[jax.Array], jax.Array]
    neutral: float = 0.0
    numbers: int = 1
    turn: bool = False


def _angle(u: jax.Array) -> jax.Array:
    return (2 * u - 1) * math.pi


TRANSFORMS = {
    "flip": Transform("blit", False, lambda u: jnp.floor(2 * u)),
    "quarter_turns": Transform("blit", False, lambda u: jnp.floor(4 * u)),
    "shift": Transform("blit", False, lambda u: (2 * u - 1) / 8, numbers=2),
    "scale": Transform("geometry", True, lambda n: 2 ** (0.2 * n), 1.0),
    "turn_before": Transform("geometry", False, _angle, turn=True),
    "stretch": Transform("geometry", True, lambda n: 2 ** (0.2 * n), 1.0),
    "turn_after": Transform("geometry", False, _angle, turn=True),
    "fractional_shift": Transform("geometry", True, lambda n: n / 8, numbers=2),
    "brightness": Transform("colour", True, lambda n: 0.2 * n),
    "contrast": Transform("colour", True, lambda n: 2 ** (0.5 * n), 1.0),
    "luma_flip": Transform("colour", False, lambda u: jnp.floor(2 * u)),
    "hue": Transform("colour", False, _angle),
    "saturation": Transform("colour", True, lambda n: 2**n, 1.0),
    **{f"band_{i}": Transform("filter", True, lambda n: 2**n, 1.0) for i in range(len(POWER))},
    "noise": Transform("noise", True, lambda n: jnp.abs(0.1 * n)),
    "cutout": Transform("cutout", False, lambda u: u, 9.0, numbers=2),  # The centre; 9 lies outside of all images.
}
"""Transformations by name. Shifts and centres are shares of the image's size, noise a standard deviation."""

Draws = dict[str, tuple[jax.Array, jax.Array]]
"""By transformation: a coin in [0, 1) for each image [B], and its numbers [B, n]."""


class Ada(NamedTuple):
    """The pipeline. strengths: (group, factor of the probability) of the groups in use."""

    strengths: tuple[tuple[str, float], ...]

    def __call__(self, x: Image, key: jax.Array, p: jax.Array | float) -> Image:
        """Augment images [B, H, W, C] in [-1, 1], each transformation with probability p times its group's strength."""
        draw_key, noise_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, x.shape) if "noise" in dict(self.strengths) else None
        values = self.values(self.draw(draw_key, len(x)), p)
        # Resampling blurs a little, so p = 0 must not pass it.
        return jnp.where(p > 0, transform(x, values, noise), x)

    def draw(self, key: jax.Array, batch: int) -> Draws:
        """Draw coins and numbers for a batch. A transformation's draws do not depend on which others are in use."""
        draws = {}
        for i, (name, own) in enumerate(TRANSFORMS.items()):
            if own.group in dict(self.strengths):
                coin_key, key_of_numbers = jax.random.split(jax.random.fold_in(key, i))
                sample = jax.random.normal if own.normal else jax.random.uniform
                draws[name] = jax.random.uniform(coin_key, (batch,)), sample(key_of_numbers, (batch, own.numbers))
        return draws

    def values(self, draws: Draws, p: jax.Array | float) -> dict[str, jax.Array]:
        """Return each transformation's value for each image [B, n]: neutral unless its coin is below its probability."""
        strengths, values = dict(self.strengths), {}
        for name, (coin, numbers) in draws.items():
            own = TRANSFORMS[name]
            probability = jnp.minimum(strengths[own.group] * p, 1)
            if own.turn:
                probability = 1 - jnp.sqrt(1 - probability)
            values[name] = jnp.where(coin[:, None] < probability, own.value(numbers), own.neutral)
        return values


def transform(x: Image, values: dict[str, jax.Array], noise: jax.Array | None = None) -> Image:
    """Apply transformations to images [B, H, W, C]. values: see Ada.values. noise: normal numbers of the images' shape."""
    if "flip" in values or "scale" in values:
        x = resample(x, inverse_map(values, *x.shape[1:3]))
    if "brightness" in values:
        x = change_colour(x, {name: values[name][:, None, None] for name in values})
    if "band_0" in values:
        x = change_bands(x, jnp.concatenate([values[f"band_{i}"] for i in range(len(POWER))], 1))
    if noise is not None:
        x = x + values["noise"][:, None, None] * noise
    return cut_out(x, values["cutout"]) if "cutout" in values else x


def inverse_map(values: dict[str, jax.Array], height: int, width: int) -> jax.Array:
    """Return the affine maps [B, 3, 3] from positions in the new images to those in the old, in pixels from the centre."""
    size, inverse = jnp.array([width, height]), jnp.eye(3)
    column = lambda name, i=0: values[name][:, i]
    if "flip" in values:
        shift = jnp.round(values["shift"] * size)
        inverse = inverse @ _diagonal(1 - 2 * column("flip"), jnp.ones(len(shift)))
        inverse = inverse @ _turn(math.pi / 2 * column("quarter_turns"))
        inverse = inverse @ _move(-shift)
    if "scale" in values:
        inverse = inverse @ _diagonal(1 / column("scale"), 1 / column("scale"))
        inverse = inverse @ _turn(column("turn_before"))
        inverse = inverse @ _diagonal(1 / column("stretch"), column("stretch"))
        inverse = inverse @ _turn(column("turn_after"))
        inverse = inverse @ _move(-values["fractional_shift"] * size)
    return inverse


def change_colour(x: Image, values: dict[str, jax.Array]) -> Image:
    """Change colours of images of any number of channels; hue of RGB alone. values: [B, 1, 1, 1].

    Luma is the mean of the channels: the part along (1, ..., 1). The flip mirrors it, saturation scales the rest, hue turns it.
    """
    x = (x + values["brightness"]) * values["contrast"]
    luma = x.mean(3, keepdims=True)
    rest, luma = x - luma, luma * (1 - 2 * values["luma_flip"])
    if x.shape[3] == 3:
        across = (jnp.roll(rest, 1, 3) - jnp.roll(rest, -1, 3)) / math.sqrt(3)
        rest = rest * jnp.cos(values["hue"]) + across * jnp.sin(values["hue"])
    return luma + rest * values["saturation"]


def change_bands(x: Image, gains: jax.Array) -> Image:
    """Amplify octave bands of images, each by its gain [B, 4]; after each gain, the expected power is made 1 again."""
    power, total = jnp.array(POWER), jnp.ones_like(gains)
    for i in range(gains.shape[1]):
        one = jnp.ones_like(gains).at[:, i].set(gains[:, i])
        total = total * one / jnp.sqrt(jnp.sum(power * jnp.square(one), 1, keepdims=True))
    bands = total @ filters.octave_bands(gains.shape[1])
    reach = bands.shape[1] // 2
    for axis in (2, 1):
        x = jnp.moveaxis(x, axis, -1)
        line = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (reach, reach)), mode="reflect")
        x = jax.vmap(lambda line, band: _filter(line, band))(line, bands)
        x = jnp.moveaxis(x, -1, axis)
    return x


def cut_out(x: Image, centre: jax.Array) -> Image:
    """Set a rectangle of half the image's width and height to 0. centre: [B, 2], as shares of width and height."""
    height, width = x.shape[1:3]
    near = lambda size, i: jnp.abs((jnp.arange(size) + 0.5) / size - centre[:, i, None]) < 0.25
    hole = near(height, 1)[:, :, None, None] & near(width, 0)[:, None, :, None]
    return jnp.where(hole, 0.0, x)


def _filter(lines: jax.Array, band: jax.Array) -> jax.Array:
    """Filter lines [H, C, W + taps - 1] of an image."""
    flat = lines.reshape(-1, 1, lines.shape[-1])
    flat = jax.lax.conv_general_dilated(flat, band[None, None], (1,), "VALID", precision=jax.lax.Precision.HIGHEST)
    return flat.reshape(*lines.shape[:-1], -1)


def _matrix(*rows: tuple[jax.Array | float, ...]) -> jax.Array:
    """Stack entries [B] to matrices [B, 3, 3]; the last row is (0, 0, 1)."""
    batch = next(entry.shape for row in rows for entry in row if isinstance(entry, jax.Array))
    full = [jnp.stack([jnp.broadcast_to(jnp.float32(entry), batch) for entry in row], -1) for row in (*rows, (0, 0, 1))]
    return jnp.stack(full, -2)


def _diagonal(x: jax.Array, y: jax.Array) -> jax.Array:
    return _matrix((x, 0, 0), (0, y, 0))


def _turn(angle: jax.Array) -> jax.Array:
    return _matrix((jnp.cos(angle), -jnp.sin(angle), 0), (jnp.sin(angle), jnp.cos(angle), 0))


def _move(by: jax.Array) -> jax.Array:
    return _matrix((1, 0, by[:, 0]), (0, 1, by[:, 1]))
