"""Perceptual path length: how fast images change along interpolations of latents (Karras et al. 2019, section 4.1).

It is the mean LPIPS of two images whose latents are EPS apart, divided by EPS^2. `full`: at random points between two latents;
`end`: at the first. In z the interpolation is spherical, in w linear. As in StyleGAN2-ADA: noise is equal in both images,
images above 256 pixels are averaged down to 256, the smallest and the largest hundredth of distances are left out. Differences:
there is no crop of faces, and z keeps the length of its ends, which changes nothing if G scales z to unit length.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.evaluation import lpips
from biggan_jax.evaluation.lpips import Lpips
from biggan_jax.family import Family
from biggan_jax.models.style import StyleGAN
from biggan_jax.runtime.progress import track
from biggan_jax.sampling.generate import batches_of
from biggan_jax.sampling.sampler import NotFiniteError, Sampler
from biggan_jax.sampling.styles import FIXED, check
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Image, Label, Params

KINDS = ("z_full", "z_end", "w_full", "w_end")
EPS, SIZE = 1e-4, 256
KEPT = 1, 99  # Percentiles between which distances count.
FORMULA = f"LPIPS / eps^2, eps {EPS:g}, percentiles {KEPT[0]} to {KEPT[1]}, no crop"


def check_kind(kind: str, gan: Family, network: Lpips) -> None:
    """Raise UserError unless the path length of this kind is defined for the model."""
    if kind.startswith("w"):
        check(gan, f"the path length {kind}")
    height, width, channels = gan.image_shape if len(gan.image_shape) == 3 else (0, 0, 0)
    factor = factor_of(gan.image_shape)
    network.check_shape((height // factor, width // factor, channels) if channels else gan.image_shape)


def measure(sampler: Sampler, network: Lpips, kind: str, y: Label, seed: int = 0, batch_size: int = 32) -> float:
    """Return the path length of a kind in KINDS, from as many pairs as there are labels y. Raises NotFiniteError, UserError."""
    check_kind(kind, sampler.gan, network)
    return length_of(distances(sampler, network, kind, y, seed, batch_size))


def length_of(values: np.ndarray) -> float:
    """Return the mean of distances between their percentiles KEPT, both rounded outwards."""
    low = np.percentile(values, KEPT[0], method="lower")
    high = np.percentile(values, KEPT[1], method="higher")
    return float(values[(low <= values) & (values <= high)].mean(dtype=np.float64))


def distances(sampler: Sampler, network: Lpips, kind: str, y: Label, seed: int, batch_size: int) -> np.ndarray:
    """Return LPIPS / EPS^2 of one pair of images per label, float64 [N]."""
    space, _, part = kind.partition("_")
    ends = sampler.latents(2 * len(y), seed).reshape(len(y), 2, -1)
    shares = np.random.default_rng(seed).uniform(size=len(y)) if part == "full" else np.zeros(len(y))
    # The share is a column beside both latents, so that batches are formed as for samples.
    inputs = np.concatenate([ends.reshape(len(y), -1), shares[:, None].astype(np.float32)], axis=1)
    key, found = jax.random.key(seed), []
    batches = list(batches_of(sampler.gan, inputs, y, batch_size))
    for i, (*batch, count) in enumerate(track(batches, f"pairs of {kind}")):
        own = sampler.weights, sampler.variables, network.params, *batch, jax.random.fold_in(key, i)
        found.append(np.asarray(_pairs(sampler.gan, space, network.features, *own), np.float64)[:count])
    values = np.concatenate(found)
    if not np.isfinite(values).all():
        raise NotFiniteError("images of this model, or their distances, are not finite numbers")
    return values / EPS**2


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _pairs(
    gan: Family, space: str, features: Callable, weights: Params, variables: dict[str, Params], of_lpips: Params,
    inputs: jax.Array, y: Label, key: jax.Array,
) -> jax.Array:  # fmt: skip
    """Return LPIPS [B] of pairs of images. inputs [B, 2 dim_z + 1]: both latents, and the share between them."""
    inputs, y = jnp.asarray(constrain_batch(inputs, gan.mesh)), constrain_batch(y, gan.mesh)
    first, last, share = inputs[:, : gan.dim_z], inputs[:, gan.dim_z : -1], inputs[:, -1:]
    shares = [share, share + EPS]
    if isinstance(gan, StyleGAN):
        variables = with_noise(variables, key)
    if isinstance(gan, StyleGAN) and space == "w":
        a, b = (gan.ws(weights, variables, z, y) for z in (first, last))
        latents = [a + t[..., None] * (b - a) for t in shares]
    else:
        latents = [slerp(first, last, t) for t in shares]
    images = (reduced(gan.sample(weights, variables, z, y)) for z in latents)
    a, b = (features(of_lpips, x) for x in images)
    return gan.gather(lpips.distance(a, b))


def with_noise(variables: dict[str, Params], key: jax.Array) -> dict[str, Params]:
    """Return variables with new maps of noise, the same for all images."""
    maps, tree = jax.tree.flatten(variables.get("noise", {}))
    drawn = [jax.random.normal(jax.random.fold_in(key, i), m.shape) for i, m in enumerate(maps)]
    sampling = {**variables.get("sampling", {}), "mix": FIXED}
    return {**variables, "noise": jax.tree.unflatten(tree, drawn), "sampling": sampling}


def slerp(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
    """Interpolate from a to b [B, D] at shares t [B, 1]: the direction along the sphere, the length linearly."""
    length = lambda x: jnp.linalg.norm(x, axis=-1, keepdims=True)
    a_length, b_length = length(a), length(b)
    a, b = a / a_length, b / b_length
    cosine = jnp.sum(a * b, axis=-1, keepdims=True)
    across = b - cosine * a
    across = across / length(across)
    angle = t * jnp.arccos(jnp.clip(cosine, -1, 1))
    return (a * jnp.cos(angle) + across * jnp.sin(angle)) * (a_length + t * (b_length - a_length))


def factor_of(shape: tuple[int, ...]) -> int:
    """Return by how much images [H, W, C] are averaged down."""
    return max(min(shape[:2]) // SIZE, 1) if len(shape) == 3 else 1


def reduced(images: Image) -> jax.Array:
    """Average images [B, H, W, C] of more than SIZE pixels down by a whole factor."""
    factor = factor_of(images.shape[1:])
    if factor == 1:
        return jnp.asarray(images)
    b, h, w, c = images.shape
    h, w = h - h % factor, w - w % factor
    return images[:, :h, :w].reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))
