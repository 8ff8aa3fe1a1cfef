"""Generate images in batches of one size, with standing (Brock et al. 2019, App. C) or binned batch-norm statistics."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.family import Family, Trees
from biggan_jax.latents import Truncation, draw
from biggan_jax.layers.spectral import Vectors
from biggan_jax.runtime.progress import track
from biggan_jax.sharding import constrain_batch, divisible
from biggan_jax.types import Image, Label, Latent, Params

STANDING_BATCH = 64  # Latents per pass of standing statistics.


def draw_latents(gan: Family, key: jax.Array, num: int, truncation: Truncation | None = None) -> Latent:
    """Draw z [num, dim_z] from the model's prior, with `truncation` if given."""
    return draw(gan.prior, key, num, gan.dim_z, truncation)


@functools.partial(jax.jit, static_argnums=0)
def evaluation_weights(gan: Family, params: Params, vectors: Vectors) -> Params:
    """Return the weights for sampling: normalised according to `gan.spectral_eval`, and replicated."""
    return gan.gather(gan.evaluation_weights(params, vectors))


def generate(gan: Family, weights: Params, variables: Params, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Generate images float32 [N, H, W, C] in [-1, 1] for z [N, dim_z] and y [N], `batch_size` at a time."""
    batches = batches_of(gan, z, y, batch_size)
    return np.concatenate([np.asarray(generate_batch(gan, weights, variables, *batch))[:n] for *batch, n in batches])


def batches_of(gan: Family, z: Latent, y: Label, batch_size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield (z, y, number of valid rows) in batches of one size; the last is padded with copies of its last row.

    The size is `batch_size` rounded up to a multiple of the devices of the model's mesh.
    """
    z, y, size = np.asarray(z), np.asarray(y), divisible(batch_size, gan.mesh)
    for start in range(0, len(z), size):
        rows = np.minimum(np.arange(start, start + size), len(z) - 1)
        yield z[rows], y[rows], min(size, len(z) - start)


@functools.partial(jax.jit, static_argnums=0)
def generate_batch(gan: Family, weights: Params, variables: Params, z: Latent, y: Label) -> Image:
    """Generate one batch of images, float32 in [-1, 1]: computed in shards over the mesh, then replicated.

    weights: normalised, as `evaluation_weights` returns them. variables: such as {"batch_stats": ...}.
    """
    z, y = constrain_batch(z, gan.mesh), constrain_batch(y, gan.mesh)
    return gan.gather(gan.sample(weights, variables, z, y))


def variables_for_sampling(gan: Family, weights: Params, variables: Trees, seed: int, **options) -> Trees:
    """Return the sampled network's variables, with its batch statistics, if any, replaced by `standing_statistics`."""
    if not has_standing_statistics(gan, variables):
        return variables
    return {**variables, "batch_stats": standing_statistics(gan, weights, seed, **options)}


def has_standing_statistics(gan: Family, variables: Trees) -> bool:
    """Return whether standing statistics of the sampled network can be measured.

    Not with real numbers or texts as a condition: they have no distribution to draw from; use the statistics of training.
    """
    measurable = hasattr(gan.networks[gan.sampled].module, "bn_momentum") and not gan.condition.of_data
    return "batch_stats" in variables and measurable


def standing_statistics(
    gan: Family,
    weights: Params,
    seed: int,
    *,
    truncation: Truncation | None = None,
    passes: int = 100,
    batch_size: int = STANDING_BATCH,
    show: bool = False,
) -> Params:
    """Return batch-norm statistics averaged over `passes` batches of `batch_size` latents (Brock et al. 2019, App. C).

    With them, an image does not depend on the rest of its batch. batch_size: rounded up to a multiple of the number of devices,
    over which batches are sharded. show: shows the progress.
    """
    total, batch_size = None, divisible(batch_size, gan.mesh)
    for i in track(range(passes), "standing statistics") if show else range(passes):
        statistics = _batch_statistics(gan, weights, np.uint32(seed), np.uint32(i), batch_size, truncation)
        # One pass at a time: passes are independent, and with many in flight CPU devices could wait in different collectives.
        jax.block_until_ready(statistics)
        total = statistics if total is None else jax.tree.map(jnp.add, total, statistics)
    return jax.tree.map(lambda x: x / passes, total)


def binned_statistics(bins: Params, truncation: float, *, swapped: bool = False) -> Params:
    """Interpolate batch-norm statistics for a truncation in [0, 1] from those of the two nearest bins.

    bins: statistics [bins, C], measured at truncations 0 ... 1 in equal steps, as in released BigGAN-deep models. swapped:
    exchanges the weights of the two bins, as Hugging Face's code does; only for parity with its images.
    """
    last = len(jax.tree.leaves(bins)[0]) - 1
    share, low = math.modf(truncation / (1.0 / last))
    low, high = int(low), min(int(low) + 1, last)
    if swapped and share:
        share = 1 - share
    return jax.tree.map(lambda rows: rows[low] * np.float32(1 - share) + rows[high] * np.float32(share), bins)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _batch_statistics(gan: Family, weights, seed, i, batch_size: int, truncation: Truncation | None) -> Params:
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
    z = constrain_batch(draw_latents(gan, z_key, batch_size, truncation), gan.mesh)
    y = constrain_batch(jax.random.randint(y_key, (batch_size,), 0, max(gan.num_classes, 1)), gan.mesh)
    # With momentum 0, the running statistics after a training pass are those of its batch.
    generator = gan.networks[gan.sampled].module
    settings: dict[str, Any] = {"bn_momentum": 0.0}
    if hasattr(generator, "bn_group"):  # The statistics are estimates of those of all images: more at once are better.
        settings["bn_group"] = 0
    generator = generator.clone(**settings)
    zeros = jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))["batch_stats"]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)
    rngs = {"params": jax.random.fold_in(z_key, 1)}  # Every stream of make_rng falls back to this one.
    arrays = {"params": weights, "batch_stats": zeros}
    _, moved = generator.apply(arrays, z, y, train=True, mutable=["batch_stats"], rngs=rngs)
    return gan.gather(moved["batch_stats"])
