"""Scores by nearest real images: authenticity of samples, which memorisation lowers, and their rarity."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from biggan_jax.evaluation.neighbours import blocks, distances, nearest_others
from biggan_jax.sharding import batch_sharding, replicated
from biggan_jax.types import UserError

K_RARITY = 3
"""Neighbours of rarity, as in the paper's code."""


class Nearness(NamedTuple):
    """authenticity: share of samples in [0, 1]. rarity: mean radius, in units of the features; NaN if no sample has one.

    rarity_defined: share of samples that are in a real ball, in [0, 1].
    """

    authenticity: float
    rarity: float
    rarity_defined: float


def nearness(
    real: np.ndarray, fake: np.ndarray, *, k: int = K_RARITY, rows: int = 1024, mesh: Mesh | None = None
) -> Nearness:
    """Compute both scores for features float32 [N, D] and [M, D].

    A sample is authentic if it is farther from its nearest real image than that one is from its own nearest other real image
    (Alaa et al. 2022; 100 times the share is dgm-eval's AuthPct). The rarity of a sample is the smallest radius of a real ball
    that contains it, where a ball reaches to the k-th nearest real neighbour (Han et al. 2022). rows: of a block, per device.
    Raises UserError if there are not more real images than k, or no samples.
    """
    if len(real) <= k or not len(fake):
        raise UserError(f"rarity needs {k + 1} or more real images and a sample; there are {len(real)} and {len(fake)}")
    # Centring does not change distances, and reduces rounding.
    center = real.mean(0, dtype=np.float64)
    real, fake = ((x - center).astype(np.float32) for x in (real, fake))
    place = lambda to: jnp.asarray if mesh is None else functools.partial(jax.device_put, device=to(mesh))
    shard, all_real = place(batch_sharding), place(replicated)(real)
    rows *= 1 if mesh is None else mesh.size
    parts = [np.asarray(nearest_others(shard(part), all_real, i, k, mesh)) for i, part in blocks(real, rows)]
    squared = np.concatenate(parts)[: len(real)]
    to_nearest, radii = place(replicated)(squared[:, 0]), place(replicated)(squared[:, k - 1])
    found = [jax.device_get(_compare(shard(part), all_real, to_nearest, radii)) for _, part in blocks(fake, rows)]
    authentic, smallest = (np.concatenate(arrays)[: len(fake)] for arrays in zip(*found, strict=True))
    inside = np.isfinite(smallest)
    rarity = float(np.sqrt(smallest[inside].astype(np.float64)).mean()) if inside.any() else float("nan")
    return Nearness(float(authentic.mean()), rarity, float(inside.mean()))


@jax.jit
def _compare(fake: jax.Array, real: jax.Array, to_nearest: jax.Array, radii: jax.Array):
    """Return, for fakes [R, D]: whether each is authentic [R], and its rarity squared [R], infinite outside of all balls."""
    d = distances(fake, real)
    nearest = d.argmin(1)
    return to_nearest[nearest] < d.min(1), jnp.where(d <= radii, radii, jnp.inf).min(1)
