"""Find the w, and the noise, that make a StyleGAN generate a given picture (Karras et al. 2020, App. D).

w is optimised by Adam from the best of random ones, with noise of a falling strength added. The maps of noise are optimised, too,
but a penalty of their correlation keeps signal out of them. space w: one w for all layers; w+: one for each.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.models.style import StyleGAN
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.styles import FIXED, check, with_fixed_noise, ws_of
from biggan_jax.tools.edit import inversion
from biggan_jax.tools.edit.inversion import psnr
from biggan_jax.types import Image, Params, UserError

SPACES = ("w", "w+")
LR, WARM_UP, COOL_DOWN = 0.1, 0.05, 0.25  # The rate, and the shares of steps in which it grows and falls.
NOISE, NOISE_UNTIL = (
    0.05,
    0.75,
)  # Of w: strength relative to the deviation of w, and the share of steps until which it falls.

Distance = Callable[[Params, Image, Image], jax.Array]
"""A pure function of (weights, images, the wanted ones), float in [-1, 1], to distances [N]."""


class Projection(NamedTuple):
    """The restarts, best first.

    w [R, styles, dim_w]. y: int [R]. noise: the maps of each restart, [R, H, W] each. images: uint8, with their loss [R] and psnr
    [R] in dB. initial: loss and psnr of the best candidate before the first step.
    """

    w: np.ndarray
    y: np.ndarray
    noise: Params
    images: np.ndarray
    loss: np.ndarray
    psnr: np.ndarray
    initial: tuple[float, float]


def project(
    sampler: Sampler,
    target: np.ndarray,
    *,
    space: str = "w",
    label: int | None = None,
    seed: int = 0,
    candidates: int = 128,
    restarts: int = 8,
    steps: int = 300,
    noise_weight: float = 1e5,
    distance: Distance | None = None,
    weights: Params | None = None,
    mask: np.ndarray | None = None,
) -> Projection:
    """Optimise the best of `candidates` random w's to match target, uint8 [H, W, C] of the model's image shape.

    label: the class of the candidates; by default all. noise_weight: of the penalty of noise; 0: the maps of noise stay as they
    are. distance, weights: by default inversion.distance, of no weights. mask: float32 [H, W] in [0, 1], how much
    each pixel counts; by default all count. Raises UserError for a model without w.
    """
    gan = check(sampler.gan, "projection")
    if target.shape != gan.image_shape:
        raise UserError(f"the picture is {list(target.shape)}, but the model generates {list(gan.image_shape)}")
    sampler, distance, weights = with_fixed_noise(sampler), distance or _pyramid, weights or {}
    if mask is not None:
        distance, weights = Masked(distance), {"mask": jnp.asarray(mask), "of_distance": weights}
    wanted = jnp.asarray(target, jnp.float32)[None] / 127.5 - 1
    random = np.random.default_rng(seed).integers(0, max(gan.num_classes, 1), candidates)
    y = (random if label is None else np.full(candidates, label)).astype(np.int32)
    ws = ws_of(sampler, sampler.latents(candidates, seed), y)
    measure = jax.jit(distance)
    losses = np.concatenate([np.asarray(measure(weights, x, wanted))[:n] for x, n in sampler.batches(ws, y)])
    best = np.argsort(losses, kind="stable")[:restarts]
    initial = float(losses[best[0]]), float(psnr(sampler.images(ws[best[:1]], y[best[:1]]), target, mask)[0])
    deviation = float(np.sqrt(np.square(ws[:, 0] - ws[:, 0].mean(0)).sum(-1).mean()))

    y, w = y[best], ws[best] if space == "w+" else ws[best][:, :1]
    maps = jax.tree.map(lambda a: jnp.repeat(jnp.asarray(a)[None], len(best), 0), sampler.variables.get("noise", {}))
    free: dict[str, Any] = {"w": jnp.asarray(w)} | ({"noise": maps} if noise_weight and maps else {})
    state, key = _adam(steps).init(free), jax.random.key(seed)
    for step in track(range(steps), "steps"):
        strength = NOISE * deviation * max(0, 1 - step / (NOISE_UNTIL * steps)) ** 2
        inputs = sampler.weights, sampler.variables, weights, wanted, strength, noise_weight, free, state, maps
        free, state = _step(gan, steps, distance, jax.random.fold_in(key, step), *inputs)

    shape = len(best), gan.styles, gan.dim_w
    w, maps = np.broadcast_to(np.asarray(free["w"]), shape), free.get("noise", maps)
    floats = np.asarray(_images(gan, sampler.weights, sampler.variables, w, maps))
    loss = np.asarray(measure(weights, floats, wanted))
    order = np.argsort(loss, kind="stable")
    images = pictures.to_uint8(floats[order])
    noise = jax.tree.map(lambda a: np.asarray(a)[order], maps)
    return Projection(w[order], y[order], noise, images, loss[order], psnr(images, target, mask), initial)


@dataclasses.dataclass(frozen=True)
class Masked:
    """A distance of the pixels that count, relative to their share. weights: mask [H, W], and those of the other distance."""

    of: Distance

    def __call__(self, weights: Params, images: Image, wanted: Image) -> jax.Array:
        mask = weights["mask"]
        seen = wanted + mask[..., None] * (images - wanted)
        return self.of(weights["of_distance"], seen, wanted) / mask.mean()


def correlation(maps: Params) -> jax.Array:
    """Return the penalty of noise: squared correlations of neighbours in maps [H, W], and in their averages of down to 8 pixels."""
    total = jnp.zeros(())
    for n in jax.tree.leaves(maps):
        while True:
            total += sum(jnp.mean(n * jnp.roll(n, 1, axis)) ** 2 for axis in (0, 1))
            height, width = n.shape
            if min(height, width) <= 8 or height % 2 or width % 2:
                break
            n = n.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) * 2  # Its variance stays 1.
    return total


def _rate(step: jax.Array, steps: int) -> jax.Array:
    done = step / steps
    falling = 0.5 - 0.5 * jnp.cos(math.pi * jnp.minimum(1, (1 - done) / COOL_DOWN))
    return LR * falling * jnp.minimum(1, done / WARM_UP)


def _adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(functools.partial(_rate, steps=steps))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step(
    gan: StyleGAN, steps: int, distance: Distance, key, weights, variables, of_distance, wanted, strength, noise_weight,
    free, state, maps,
):  # fmt: skip
    def total(free):
        noisy = free["w"] + strength * jax.random.normal(key, free["w"].shape)
        own = free.get("noise", maps)
        images = _generate(gan, weights, variables, noisy, own)
        penalty = jax.vmap(correlation)(free["noise"]).sum() if "noise" in free else 0.0
        # A sum, so that a restart's gradient does not depend on the number of restarts.
        return jnp.sum(distance(of_distance, images, wanted)) + noise_weight * penalty

    updates, state = _adam(steps).update(jax.grad(total)(free), state)
    free = optax.apply_updates(free, updates)
    if "noise" in free:
        free["noise"] = jax.tree.map(_standardised, free["noise"])
    return free, state


def _standardised(maps: jax.Array) -> jax.Array:
    """Return maps [R, H, W] of mean 0 and mean square 1."""
    maps = maps - maps.mean((1, 2), keepdims=True)
    return maps * jax.lax.rsqrt(jnp.square(maps).mean((1, 2), keepdims=True))


@functools.partial(jax.jit, static_argnums=0)
def _images(gan: StyleGAN, weights: Params, variables: dict[str, Params], w: jax.Array, maps: Params) -> Image:
    return _generate(gan, weights, variables, w, maps)


def _generate(gan: StyleGAN, weights: Params, variables: dict[str, Params], w: jax.Array, maps: Params) -> Image:
    """Return images of w [R, 1 or styles, dim_w], each with its own maps of noise [R, H, W]."""
    sampling = {**variables.get("sampling", {}), "mix": FIXED}

    def one(w, noise):
        ws = jnp.broadcast_to(w, (gan.styles, w.shape[-1]))[None]
        own = {**variables, "sampling": sampling} | ({"noise": noise} if noise else {})
        return gan.sample(weights, own, ws, np.zeros(1, np.int32))[0]

    return jax.vmap(one)(w, maps)


def _pyramid(_: Params, images: Image, wanted: Image) -> jax.Array:
    return inversion.distance(images, wanted[0])
