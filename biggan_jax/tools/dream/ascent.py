"""Gradient ascent on a layer's output over octaves of a picture (google/deepdream, 2015)."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.runtime.progress import track
from biggan_jax.tools.dream.layers import Network
from biggan_jax.types import Params, UserError

CROP = 0.05
"""The share of a frame's sides that a zoom leaves out of the next one."""

ROWS = 4096  # Places of a layer that are compared with the guide's at a time.


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a picture is changed. The defaults are those of google/deepdream.

    step_size: mean change of a pixel in a step, of 255 grey levels. jitter: largest random shift of a step, in pixels. octaves:
    sizes of the picture, each `scale` times the one before.
    """

    steps: int = 10
    octaves: int = 4
    scale: float = 1.4
    jitter: int = 32
    step_size: float = 1.5


class Octave(NamedTuple):
    """What happened at one size: the layer's score before the first and after the last step.

    The score is the norm of the layer's output, or with a guide the mean product with the guide's nearest outputs.
    """

    height: int
    width: int
    before: float
    after: float


def without_growth(octaves: Sequence[Octave]) -> list[int]:
    """Return the numbers, from 1 on, of the octaves whose score did not grow."""
    return [number for number, octave in enumerate(octaves, 1) if octave.after <= octave.before]


class Dream(NamedTuple):
    """pixels: float32 [H, W, C] in [0, 255]."""

    pixels: np.ndarray
    octaves: list[Octave]


class Dreamer:
    """Changes pictures so that a layer's output grows. guide: a picture uint8 [H, W, C], whose outputs the layer's are moved to.

    Raises UserError for a guide of a layer that has no places.
    """

    def __init__(
        self, network: Network, layer: str, settings: Settings = Settings(), guide: np.ndarray | None = None, seed: int = 0
    ):  # fmt: skip
        self._network, self._settings, self._random = network, settings, np.random.default_rng(seed)
        self._layer = functools.partial(network.output, layer=layer)
        self._guide = self._features(guide, layer) if guide is not None else None
        score = _norm if guide is None else _likeness
        self._score = jax.jit(lambda params, guide, x: score(self._layer(params, x), guide)[0])
        self._step = jax.jit(functools.partial(_step, self._layer, score))

    def __call__(self, picture: np.ndarray, what: str = "steps") -> Dream:
        """Dream on a picture, uint8 or float32 [H, W, C] in [0, 255]. what: names the progress."""
        settings, detail, done = self._settings, None, []
        picture = picture.astype(np.float32)
        shapes = octaves_of(picture.shape[:2], settings.octaves, settings.scale)
        steps: Iterator = iter(track(range(len(shapes) * settings.steps), what))
        pixels = picture
        for shape in shapes:
            base = resized(picture, shape)
            pixels = base if detail is None else np.clip(base + resized(detail, shape), 0, 255)
            wide = jnp.asarray(self._pad(pixels))[None]
            before = float(self._score(self._network.params, self._guide, wide))
            for _ in range(settings.steps):
                next(steps)
                shift = self._random.integers(-settings.jitter, settings.jitter + 1, 2)
                wide = self._step(self._network.params, self._guide, wide, shift, settings.step_size)
            after = float(self._score(self._network.params, self._guide, wide))
            pixels = np.asarray(wide)[0, : shape[0], : shape[1]]
            detail = pixels - base
            done.append(Octave(*shape, before, after))
        next(steps, None)  # The progress ends.
        return Dream(pixels, done)

    def zoom(self, picture: np.ndarray, frames: int) -> Iterator[Dream]:
        """Yield the dream of a picture, then of each dream without its border, enlarged to the size of the picture."""
        for number in range(frames):
            dream = self(picture, f"steps of frame {number + 1} of {frames}")
            yield dream
            picture = magnified(dream.pixels)

    def _pad(self, pixels: np.ndarray) -> np.ndarray:
        height, width = self._network.padded(*pixels.shape[:2])
        more = ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0))
        return np.pad(pixels, more, "symmetric")

    def _features(self, guide: np.ndarray, layer: str) -> jax.Array:
        """Return the layer's outputs at all places of the guide, float32 [N, channels]."""
        found = jax.jit(self._layer)(self._network.params, jnp.asarray(self._pad(guide.astype(np.float32)))[None])
        if found.ndim != 4:
            raise UserError(f"--guide: the layer {layer} has one output for a whole picture; choose an earlier --layer")
        return found.reshape(-1, found.shape[-1])


def octaves_of(shape: tuple[int, ...], count: int, scale: float) -> list[tuple[int, int]]:
    """Return the heights and widths of the octaves, from the smallest to the picture's own.

    >>> octaves_of((280, 140), 2, 1.4)
    [(200, 100), (280, 140)]
    """
    sides = ((shape[0] / scale**k, shape[1] / scale**k) for k in reversed(range(count)))
    return [(max(1, round(height)), max(1, round(width))) for height, width in sides]


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize float32 [H, W, C] to (height, width): by averaging areas, or linearly to enlarge."""
    if image.shape[:2] == shape:
        return image
    how = cv2.INTER_AREA if shape[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, shape[::-1], interpolation=how).reshape(*shape, image.shape[2])


def magnified(image: np.ndarray) -> np.ndarray:
    """Return float32 [H, W, C] without CROP of its sides, enlarged to its size."""
    height, width = image.shape[:2]
    by = 1 - CROP
    place = np.array([[by, 0, (width - 1) * CROP / 2], [0, by, (height - 1) * CROP / 2]], np.float32)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, place, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE).reshape(
        image.shape
    )


Score = Callable[[jax.Array, jax.Array | None], tuple[jax.Array, jax.Array]]
"""A function of a layer's output and the guide's that returns the score and the direction in which the output is to move."""


def _norm(output: jax.Array, guide: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """The gradient of half the squared norm is the output itself."""
    return jnp.sqrt(jnp.square(output).sum()), output


def _likeness(output: jax.Array, guide: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """At each place, the output moves to the guide's output of the greatest product with it."""
    assert guide is not None
    places = output.reshape(-1, output.shape[-1])
    nearest = jax.lax.map(lambda place: guide[jnp.argmax(guide @ place)], places, batch_size=ROWS)
    return (places * nearest).sum(-1).mean(), nearest.reshape(output.shape)


def _step(
    layer: Callable[[Params, jax.Array], jax.Array], score: Score, params: Params, guide: jax.Array | None, pixels: jax.Array,
    shift: jax.Array, step_size: float,
) -> jax.Array:  # fmt: skip
    """Move pixels [1, H, W, C] along the gradient, as the network sees them shifted by (rows, columns); return valid ones."""
    output, pull = jax.vjp(functools.partial(layer, params), jnp.roll(pixels, shift, (1, 2)))
    gradient = jnp.roll(pull(score(output, guide)[1])[0], -shift, (1, 2))
    mean = jnp.abs(gradient).mean()
    # Without a gradient, such as of a layer that a black picture does not reach, the picture stays.
    rate = jnp.where(mean > 0, step_size / jnp.where(mean > 0, mean, 1), 0)
    return jnp.clip(pixels + rate * gradient, 0, 255)
