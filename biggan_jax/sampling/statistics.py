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
"""Latents per pass of standing statistics."""


def variables_for_sampling(gan: Family, weights: Params, variables: Trees, seed: int, **options) -> Trees:
    """Return the sampled network's variables with its batch statistics replaced by `standing_statistics`.

    They stay unchanged if the network has no batch statistics, or no field `bn_momentum`, which measuring them needs.
    """
    if not has_standing_statistics(gan, variables):
        return variables
    return {**variables, "batch_stats": standing_statistics(gan, weights, seed, **options)}


def has_standing_statistics(gan: Family, variables: Trees) -> bool:
    """Return whether standing statistics of the sampled network can be measured."""
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
    """Return batch-norm statistics averaged over `passes` batches of `batch_size` latents (Brock et al. 2019, App. C).

    With them, an image does not depend on the rest of its batch. Batches are sharded over the model's mesh.

    Args:
        batch_size: rounded up to a multiple of the number of devices.
        track: wraps the range of passes, to show progress.
    """
    total = None
    batch_size = divisible(gan, batch_size)
    for i in track(range(passes)):
        statistics = _batch_statistics(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation)
        # One pass at a time: passes are independent, and with many in flight CPU devices could wait in different collectives.
        jax.block_until_ready(statistics)
        total = statistics if total is None else jax.tree.map(jnp.add, total, statistics)
    return jax.tree.map(lambda x: x / passes, total)


def binned_statistics(bins: Params, truncation: float, *, swapped: bool = False) -> Params:
    """Interpolate batch-norm statistics for a truncation in [0, 1] from those of the two nearest bins.

    Args:
        bins: statistics [bins, C], measured at truncations 0 ... 1 in equal steps, as in released BigGAN-deep models.
        truncation: the threshold.
        swapped: exchange the weights of the two bins, as Hugging Face's code does; only for parity with its images.
    """
    count = len(jax.tree.leaves(bins)[0])
    step = 1.0 / (count - 1)
    share, low = math.modf(truncation / step)
    low, high = int(low), min(int(low) + 1, count - 1)
    if swapped and share:
        share = 1 - share
    return jax.tree.map(lambda rows: rows[low] * np.float32(1 - share) + rows[high] * np.float32(share), bins)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _batch_statistics(gan: Family, weights, seed, i, batch_size: int, truncation: Truncation | None) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = constrain_batch(draw_latents(gan, z_key, batch_size, truncation), gan.mesh)
    y = constrain_batch(jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1)), gan.mesh)
    # With momentum 0, the running statistics after a training pass are those of its batch.
    generator = gan.networks[gan.sampled].module.clone(bn_momentum=0.0)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    _, moved = generator.apply({"params": weights, "batch_stats": zeros}, z, y, train=True, mutable=["batch_stats"])
    return gan.gather(moved["batch_stats"])
