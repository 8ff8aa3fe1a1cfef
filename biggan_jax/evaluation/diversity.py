"""Diversity of samples: the mean LPIPS distance between two of one class or condition."""

from collections.abc import Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax.evaluation.lpips import Lpips
from biggan_jax.sharding import constrain_batch, replicated
from biggan_jax.train_step import to_float
from biggan_jax.types import UserError

PAIRS = 1000
"""Pairs of samples whose distances are averaged."""


def diversity(
    network: Lpips, batches: Iterable[tuple[np.ndarray | jax.Array, np.ndarray]], mesh: Mesh | None = None
) -> float:
    """Average the distances of pairs. batches: see features.Batches; images 2 i and 2 i + 1 are a pair, and B is even."""
    split = lambda x: x if mesh is None else constrain_batch(x, mesh)
    each = lambda params, x: network.distance(params, to_float(split(x[::2])), to_float(split(x[1::2])))
    function = jax.jit(each) if mesh is None else jax.jit(each, out_shardings=replicated(mesh))
    params = network.params if mesh is None else jax.device_put(network.params, replicated(mesh))
    found = []
    for images, labels in batches:
        network.check_shape(images.shape[1:])
        found.append(np.asarray(function(params, images))[: len(labels) // 2])
    return float(np.concatenate(found).mean(dtype=np.float64))


def pairs(labels: np.ndarray, count: int = PAIRS, seed: int = 0) -> np.ndarray:
    """Draw pairs of different images of one class: their numbers int64 [2 * count], first and second in turn.

    labels: int [N], or conditions [N, k]. Classes are drawn by their frequency. Raises UserError if no class has two images.
    """
    if labels.ndim == 2:
        labels = np.unique(labels, axis=0, return_inverse=True)[1]
    sizes = np.bincount(labels)
    if sizes.max(initial=0) < 2:
        what = "class or condition"
        raise UserError(f"lpips compares samples of one {what}, but no {what} has two; draw more by --num")
    draws, order = np.random.default_rng(seed), np.argsort(labels, kind="stable")
    starts = np.cumsum(sizes) - sizes
    several = np.where(sizes > 1, sizes, 0)
    chosen = draws.choice(len(sizes), count, p=several / several.sum())
    first = draws.integers(0, sizes[chosen])
    second = (first + draws.integers(1, sizes[chosen])) % sizes[chosen]
    return order[starts[chosen][:, None] + np.stack([first, second], 1)].reshape(-1)
