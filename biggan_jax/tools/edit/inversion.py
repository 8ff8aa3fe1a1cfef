"""Find the z, and the class, that make G generate a given picture."""

import functools
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from biggan_jax.data import exact, picture
from biggan_jax.family import Family
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.classes import as_weights
from biggan_jax.types import Image, Label, Params, UserError


class Inversion(NamedTuple):
    """The restarts, best first.

    z [R, dim_z]. y: weights [R, num_classes], or int [R] if the class was given. images: uint8, G's for z and y, with their
    loss [R] and psnr [R] in dB. initial: loss and psnr of the best candidate before the first step.
    """

    z: np.ndarray
    y: np.ndarray
    images: np.ndarray
    loss: np.ndarray
    psnr: np.ndarray
    initial: tuple[float, float]


def invert(
    sampler: Sampler,
    target: np.ndarray,
    *,
    label: int | None = None,
    seed: int = 0,
    candidates: int = 128,
    restarts: int = 8,
    steps: int = 300,
    prior: float = 0.0,
    mask: np.ndarray | None = None,
) -> Inversion:
    """Optimise, by Adam, the best of `candidates` random latents to match target, uint8 [H, W, C] of the model's image shape.

    label: the class, kept fixed; if None, weights over classes are optimised too, starting at one class each. prior: weight
    of half the mean square of z in the loss, which keeps z where G was trained. mask: float32 [H, W] in [0, 1], how much each
    pixel counts (Zhu et al. 2016, iGAN); by default all count.
    """
    gan = sampler.gan
    if target.shape != gan.image_shape:
        raise UserError(f"the picture is {list(target.shape)}, but the model generates {list(gan.image_shape)}")
    wanted = jnp.asarray(target, jnp.float32) / 127.5 - 1
    distance = functools.partial(masked_distance, mask=None if mask is None else jnp.asarray(mask))
    z = sampler.latents(candidates, seed)
    random = np.random.default_rng(seed).integers(0, max(gan.num_classes, 1), candidates)
    y = (random if label is None else np.full(candidates, label)).astype(np.int32)
    losses = np.concatenate([np.asarray(distance(x, wanted))[:n] for x, n in sampler.batches(z, y)])
    best = np.argsort(losses, kind="stable")[:restarts]
    z, y = z[best], y[best]
    initial = float(losses[best[0]]), float(psnr(sampler.images(z[:1], y[:1]), target, mask)[0])

    free = {"z": z} if label is not None or not gan.num_classes else {"z": z, "y": as_weights(y, gan.num_classes)}
    state = _adam(steps).init(free)
    for _ in track(range(steps), "steps"):
        free, state = _step(gan, steps, sampler.weights, sampler.variables, wanted, prior, free, state, y, mask)

    z, y = np.asarray(free["z"]), np.asarray(free.get("y", y))
    floats = sampler.floats(z, y, restarts)
    loss = np.asarray(distance(floats, wanted))
    order = np.argsort(loss, kind="stable")
    images = pictures.to_uint8(floats[order])
    return Inversion(z[order], y[order], images, loss[order], psnr(images, target, mask), initial)


def psnr(images: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the peak signal-to-noise ratio, in dB, of images uint8 [N, H, W, C] against one: [N]. mask: weights [H, W]."""
    squares = np.square(images.astype(np.float64) - target)
    error = squares.mean((1, 2, 3)) if mask is None else (squares.mean(-1) * mask).sum((1, 2)) / mask.sum()
    return 10 * np.log10(255**2 / np.maximum(error, 1e-10))


def _adam(steps: int) -> optax.GradientTransformation:
    # With this rate, z, a standard normal, can cross its range several times.
    return optax.adam(optax.cosine_decay_schedule(0.05, steps))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(
    gan: Family, steps: int, weights: Params, variables: dict[str, Params], wanted, prior, free, state, y: Label,
    mask: jax.Array | None,
):  # fmt: skip
    sampler = Sampler(gan, weights, variables, None, "")

    def total(free):
        images = sampler.generate_batch(free["z"], free.get("y", y))
        # A sum, so that a restart's gradient does not depend on the number of restarts.
        return jnp.sum(masked_distance(images, wanted, mask) + prior * 0.5 * (free["z"] ** 2).mean(-1))

    updates, state = _adam(steps).update(jax.grad(total)(free), state)
    return optax.apply_updates(free, updates), state


@jax.jit
def distance(images: Image, wanted: jax.Array) -> jax.Array:
    """Return mean absolute plus mean squared difference from one image, averaged over a pyramid of halved resolutions: [N].

    At full resolution alone, a slightly displaced shape would be as distant as a missing one.
    """
    difference, levels = images - wanted, []
    while True:
        levels.append(jnp.abs(difference).mean((1, 2, 3)) + jnp.square(difference).mean((1, 2, 3)))
        n, h, w, channels = difference.shape
        if min(h, w) <= 4 or h % 2 or w % 2:
            return jnp.stack(levels).sum(0) / (2 * len(levels))
        difference = difference.reshape(n, h // 2, 2, w // 2, 2, channels).mean((2, 4))


def masked_distance(images: Image, wanted: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Return `distance` of the pixels that count, relative to their share, so that few of them weigh as much as all: [N].

    mask: [H, W]; None: all pixels count.
    """
    if mask is None:
        return distance(images, wanted)
    return distance(wanted + mask[..., None] * (images - wanted), wanted) / mask.mean()


ALPHA = "alpha"
"""A mask that is the opacity of the picture itself."""


def read_sketch(path: str, mask: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its mask, cropped to the centre and resized to (height, width, 1 or 3): uint8, and float32 [H, W].

    mask: an image file of the picture's size, white where pixels count; or ALPHA, for what is painted on a transparent picture.
    Colours are averaged over the pixels that count. Raises UserError.
    """
    if mask == ALPHA:
        found = _opened(path, "picture")
        if not found.alpha:
            raise UserError(f"--mask={ALPHA}: --picture={path} has no transparent pixels; give a mask as an image file")
        counts = picture.to_8_bits(found.image[..., -1]) / np.float32(255)
        image = exact.fitted(found._replace(image=found.image[..., :-1], alpha=False), 3, 8).image
    else:
        image, drawn = (exact.fitted(_opened(*of), 3, 8).image for of in ((path, "picture"), (mask, "mask")))
        if image.shape != drawn.shape:
            sizes = [f"{one.shape[1]} x {one.shape[0]}" for one in (image, drawn)]
            raise UserError(f"--picture={path} is {sizes[0]} pixels, but --mask={mask} is {sizes[1]}; make them equal")
        counts = picture.to_gray(drawn)[..., 0] / np.float32(255)
    image, counts = picture.crop(image, shape), picture.crop(counts, shape)
    shrinks = shape[0] <= image.shape[0]
    resize = lambda x: cv2.resize(
        x, (shape[1], shape[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    small = resize(np.ascontiguousarray(counts, np.float32))
    if not small.any():
        raise UserError(f"--mask={mask}: no pixel of the central region counts; paint on it, in white on a mask")
    colours = resize(image.astype(np.float32) * counts[..., None]) / np.maximum(small, 1e-6)[..., None]
    image = np.where(small[..., None] > 0, np.rint(colours), 255).clip(0, 255).astype(np.uint8)
    return picture.to_gray(image) if shape[2] == 1 else image, small


def _opened(path: str, flag: str) -> exact.Pixels:
    try:
        return exact.read(epath.Path(path).read_bytes())
    except (OSError, picture.UnreadableError) as error:
        raise UserError(f"--{flag}={path} cannot be read: {error}") from error


def read_picture(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read an image file, cropped to the centre and resized to (height, width, 1 or 3), uint8."""
    try:
        pixels = picture.decode(epath.Path(path).read_bytes(), upright=True)
    except (OSError, picture.UnreadableError) as error:
        raise UserError(f"--picture={path} cannot be read: {error}") from error
    pixels = picture.resize(picture.crop(pixels, shape), shape, "area")
    return picture.to_gray(pixels) if shape[2] == 1 else pixels
