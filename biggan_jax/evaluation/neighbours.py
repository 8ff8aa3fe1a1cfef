"""Precision, recall, density and coverage, from squared distances to neighbours, in blocks [rows, N] that bound memory."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from biggan_jax.sharding import batch_sharding, on_each_device, replicated
from biggan_jax.types import UserError

K_PRECISION, K_DENSITY = 3, 5
"""Neighbours, as in the papers."""


class PRDC(NamedTuple):
    """Precision, recall and coverage in [0, 1]; density from 0, about 1 for real samples."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    k_precision: int = K_PRECISION,
    k_density: int = K_DENSITY,
    rows: int = 1024,
    mesh: Mesh | None = None,
) -> PRDC:
    """Compute the four metrics for features float32 [N, D] and [M, D].

    A sample's ball extends to its k-th nearest neighbour of the same kind. Precision: share of fakes in any real ball;
    recall: share of reals in any fake ball (Kynkaanniemi et al. 2019). Density: mean number of real balls that contain a
    fake, divided by k; coverage: share of reals whose ball contains a fake (Naeem et al. 2020).

    rows: of a block, per device. mesh: of this host's devices; blocks are sharded by rows, all features are on every device.
    Raises UserError if one kind does not have more samples than the larger k.
    """
    k = max(k_precision, k_density)
    if min(len(real), len(fake)) <= k:
        there = f"there are {len(real)} real and {len(fake)} generated ones"
        raise UserError(f"metrics by {k} nearest neighbours need {k + 1} or more samples of each kind; {there}")
    # Centring does not change distances, and reduces rounding.
    center = real.mean(0, dtype=np.float64)
    real, fake = ((x - center).astype(np.float32) for x in (real, fake))
    place = lambda to: jnp.asarray if mesh is None else functools.partial(jax.device_put, device=to(mesh))
    shard, replicate = place(batch_sharding), place(replicated)
    rows *= 1 if mesh is None else mesh.size
    all_real = replicate(real)

    def radii(x: np.ndarray, full: jax.Array) -> np.ndarray:
        # Fetched one by one, so that one block's distances are in memory at a time.
        parts = [np.asarray(nearest_others(shard(part), full, i, k, mesh)) for i, part in blocks(x, rows)]
        return np.concatenate(parts)[: len(x)]

    real_radii, fake_radii = radii(real, all_real), radii(fake, replicate(fake))
    in_precision, in_density = (replicate(real_radii[:, k - 1]) for k in (k_precision, k_density))
    pairs = zip(blocks(fake, rows), blocks(fake_radii[:, k_precision - 1], rows), strict=True)
    meet = lambda part, reach: jax.device_get(_meet(shard(part), shard(reach), all_real, in_precision, in_density))
    precise, balls, recalled, nearest = zip(*(meet(part, reach) for (_, part), (_, reach) in pairs), strict=True)
    return PRDC(
        precision=float(np.concatenate(precise)[: len(fake)].mean()),
        recall=float(np.any(recalled, axis=0).mean()),
        density=float(np.concatenate(balls)[: len(fake)].mean() / k_density),
        coverage=float((np.min(nearest, axis=0) <= real_radii[:, k_density - 1]).mean()),
    )


def blocks(x: np.ndarray, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, block of `rows`), the last one padded with its last row, so that all have one shape."""
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        yield start, np.concatenate([block, np.repeat(block[-1:], rows - len(block), axis=0)])


@functools.partial(jax.jit, static_argnums=(3, 4))
def nearest_others(part: jax.Array, full: jax.Array, start: int, k: int, mesh: Mesh | None) -> jax.Array:
    """Return distances from each row of part [R, D], which starts at row `start` of full, to its k nearest others: [R, k]."""
    nearest = lambda d: -jax.lax.top_k(-d, k)[0]
    if mesh is not None:  # Otherwise the compiler gathers all distances on every device.
        nearest = on_each_device(nearest, mesh, otherwise=nearest)
    itself = start + jnp.arange(len(part))[:, None] == jnp.arange(len(full))
    return nearest(jnp.where(itself, jnp.inf, distances(part, full)))


@jax.jit
def _meet(fake: jax.Array, reach: jax.Array, real: jax.Array, in_precision: jax.Array, in_density: jax.Array):
    """Return, for fakes [R, D]: if in any real ball, in how many [R]; for all reals: if in any fake ball, nearest distance."""
    d = distances(fake, real)
    return (d <= in_precision).any(1), (d <= in_density).sum(1), (d <= reach[:, None]).any(0), d.min(0)


def distances(a: jax.Array, b: jax.Array) -> jax.Array:
    products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * products, 0)
