"""Owns finding the z, and the class, of which G makes a given picture. Must not know files nor command lines."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.gan import GAN
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.edit.classes import as_weights
from biggan_jax.types import Image, Label, Params

RATE = 0.05
"""Adam's at the start, falling to 0 along a cosine: z, a standard normal, can cross its range several times."""

SMALLEST = 4
"""Pixels across the top of the pyramid."""


class Inversion(NamedTuple):
    """The restarts, best first. z [R, dim_z]; y [R, num_classes] weights, or int [R] if given; images uint8; loss, psnr [R]: psnr
    in dB, of what G makes of them; began: the loss and the psnr of the best candidate, before any step."""

    z: np.ndarray
    y: np.ndarray
    images: np.ndarray
    loss: np.ndarray
    psnr: np.ndarray
    began: tuple[float, float]


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
) -> Inversion:
    """Latents whose image is like target, uint8 [H, W, 3] at the model's resolution: the best of candidates, moved by Adam.

    label: the class, to be kept; None: weights over classes move too, from those of one class. prior: times half the mean of
    z squared, added to the loss: keeps z where G was trained.
    """
    gan = sampler.gan
    wanted = jnp.asarray(target, jnp.float32) / 127.5 - 1
    z = sampler.latents(candidates, seed)
    if label is None:
        y = np.random.default_rng(seed).integers(0, max(gan.num_classes, 1), candidates).astype(np.int32)
    else:
        y = np.full(candidates, label, np.int32)
    losses = np.concatenate([np.asarray(_distance(x, wanted))[:n] for x, n in sampler.batches(z, y)])
    best = np.argsort(losses, kind="stable")[:restarts]
    z, y = z[best], y[best]
    began = float(losses[best[0]]), float(psnr(sampler.images(z[:1], y[:1]), target)[0])

    free = {"z": z} if label is not None or not gan.num_classes else {"z": z, "y": as_weights(y, gan.num_classes)}
    optimizer = _adam(steps)
    state = optimizer.init(free)
    for _ in track(range(steps), "steps"):
        free, state = _step(gan, optimizer, sampler.weights, sampler.moments, wanted, prior, free, state, y)

    z, y = np.asarray(free["z"]), np.asarray(free.get("y", y))
    floats = sampler.floats(z, y, restarts)
    loss, images = np.asarray(_distance(floats, wanted)), pictures.to_uint8(floats)
    order = np.argsort(loss, kind="stable")
    images = images[order]
    return Inversion(z[order], y[order], images, loss[order], psnr(images, target), began)


def psnr(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Peak signal to noise, in dB, of images uint8 [N, H, W, 3] against one: [N]."""
    error = np.square(images.astype(np.float64) - target).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-10))


@functools.cache
def _adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(RATE, steps))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(gan: GAN, optimizer, weights: Params, moments: Params, wanted, prior, free, state, y: Label):
    def total(free):
        images = generate.images(gan, weights, moments, free["z"], free.get("y", y))
        # A sum, so that no restart's gradient hangs on how many there are.
        return jnp.sum(_distance(images, wanted) + prior * 0.5 * (free["z"] ** 2).mean(-1))

    updates, state = optimizer.update(jax.grad(total)(free), state)
    return optax.apply_updates(free, updates), state


@jax.jit
def _distance(images: Image, wanted: jax.Array) -> jax.Array:
    """Mean absolute and mean squared difference from one image, [-1, 1], averaged over a pyramid of halved resolutions: [N].

    Pixels alone would not tell a shape a little aside from one that is not there.
    """
    difference, levels = images - wanted, []
    while True:
        levels.append(jnp.abs(difference).mean((1, 2, 3)) + jnp.square(difference).mean((1, 2, 3)))
        n, size = difference.shape[:2]
        if size <= SMALLEST:
            return jnp.stack(levels).sum(0) / (2 * len(levels))
        difference = difference.reshape(n, size // 2, 2, size // 2, 2, 3).mean((2, 4))
