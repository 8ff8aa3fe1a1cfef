"""Batch-norm statistics for sampling: standing (Brock et al. 2019, App. C) and binned by truncation."""

import functools
import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.family import Family, Trees
from biggan_jax.latents import Truncation
from biggan_jax.sampling.generate import divisible, draw_latents
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Params

STANDING_BATCH = 64
"""Latents a pass of standing statistics."""


def variables_for_sampling(gan: Family, weights: Params, variables: Trees, seed: int, **options) -> Trees:
    """The sampled network's variables, its batch statistics replaced by standing ones; see `standing_statistics`.

    They stay as they are where the network has none, or no field `bn_momentum`, by which single batches are measured.
    """
    if not has_standing_statistics(gan, variables):
        return variables
    return {**variables, "batch_stats": standing_statistics(gan, weights, seed, **options)}


def has_standing_statistics(gan: Family, variables: Trees) -> bool:
    """Whether the sampled network's batch statistics can be measured on batches of latents."""
    return "batch_stats" in variables and hasattr(gan.networks[gan.sampled].module, "bn_momentum")


def standing_statistics(
    gan: Family,
    weights: Params,
    seed: int,
    *,
    truncation: Truncation | None = None,
    passes: int = 100,
    batch_size: int = STANDING_BATCH,
    track: Callable[[range], Iterable[int]] = iter,
) -> Params:
    """Batch-norm statistics for sampling: those of batches, averaged over `passes` of `batch_size` latents.

    Brock et al. 2019, App. C: with them, an image does not depend on the rest of its batch. The work is divided over the
    model's mesh, for which `batch_size` is rounded up to a multiple of its devices. track: shows progress.
    """
    total = None
    batch_size = divisible(gan, batch_size)
    for i in track(range(passes)):
        moments = _batch_moments(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation)
        # No pass waits for another's result, so that with many in flight the hosts' CPU devices may meet in different ones.
        jax.block_until_ready(moments)
        total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    return jax.tree.map(lambda x: x / passes, total)


def binned_statistics(bins: Params, truncation: float, *, swapped: bool = False) -> Params:
    """Batch-norm moments for one truncation in [0, 1], between the two nearest of those measured.

    `bins`: moments [bins, C], measured at truncations 0 ... 1 in equal steps, as the released BigGAN-deep models carry.
    `swapped` weighs the two as Hugging Face's code does, the nearer one less: for parity with its images only.
    """
    count = len(jax.tree.leaves(bins)[0])
    step = 1.0 / (count - 1)
    share, low = math.modf(truncation / step)
    low, high = int(low), min(int(low) + 1, count - 1)
    if swapped and share:
        share = 1 - share
    return jax.tree.map(lambda rows: rows[low] * np.float32(1 - share) + rows[high] * np.float32(share), bins)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _batch_moments(gan: Family, weights, seed, i, batch_size: int, truncation: Truncation | None) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = constrain_batch(draw_latents(gan, z_key, batch_size, truncation), gan.mesh)
    y = constrain_batch(jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1)), gan.mesh)
    # With momentum 0, a training pass leaves behind the statistics of its batch alone.
    generator = gan.networks[gan.sampled].module.clone(bn_momentum=0.0)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    _, moved = generator.apply({"params": weights, "batch_stats": zeros}, z, y, train=True, mutable=["batch_stats"])
    return gan.gather(moved["batch_stats"])
