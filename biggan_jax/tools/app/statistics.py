"""Batch-norm statistics for any truncation: measured at a few thresholds, interpolated between them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.evaluation import fingerprint
from biggan_jax.evaluation.cache import cached
from biggan_jax.latents import Truncation
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import statistics as bn_statistics
from biggan_jax.types import Params

LIMITS = {"resample": 2.0, "scale": 1.0, "std": 1.0}
"""The largest threshold, by kind. Above 2, few entries of z are resampled; users of scale and std stay below 1."""

SHARES = np.linspace(0, 1, 5) ** 2
"""Thresholds that are measured, relative to the largest: denser near 0, where statistics change most.

With equal steps, images at a quarter differed from exact ones by three times the noise of measuring.
"""

BATCH_SIZE = 16
"""Latents in a batch: a pass at 128 pixels takes a few seconds on two cores."""


class Statistics(NamedTuple):
    """at: the model's variables for a threshold, or for none. description: where they come from, shown on the page."""

    at: Callable[[float | None], dict[str, Params]]
    description: str


def statistics_of(trained: TrainedGenerator, weights: Params, statistics: str, kind: str, passes: int) -> Statistics:
    """Return `statistics` (one of sampler.STATISTICS) for truncation of `kind`. Standing statistics are measured once.

    Measured statistics are cached by the fingerprint of the weights, so that the next start does not measure again.
    """
    if statistics == "running":
        return Statistics(lambda threshold: trained.variables, "those of training, at any truncation")
    if statistics.startswith("binned"):
        untruncated, bins, thresholds = None, trained.binned, np.array([0.0, 1.0])
        description = "those that come with the weights, by truncation"
    else:
        thresholds = LIMITS[kind] * SHARES
        untruncated, bins = _measured(trained, weights, kind, passes)
        description = f"measured on {passes * BATCH_SIZE} images"
        if bins is not None:
            description += f" at each of {len(SHARES)} truncations, interpolated between them"

    @functools.lru_cache(maxsize=16)
    def at(threshold: float | None) -> dict[str, Params]:
        if threshold is None and untruncated is not None:
            return trained.variables | {"batch_stats": untruncated}
        share = np.interp(1.0 if threshold is None else threshold, thresholds, np.linspace(0, 1, len(thresholds)))
        assert bins is not None  # Without bins, the page offers no truncation.
        swapped = statistics == "binned_as_hf"
        return trained.variables | {"batch_stats": bn_statistics.binned_statistics(bins, float(share), swapped=swapped)}

    return Statistics(at, description)


def _measured(trained: TrainedGenerator, weights: Params, kind: str, passes: int) -> tuple[Params, Params | None]:
    """Measure without truncation, [C], and at thresholds from 0 to the largest, [SHARES, C]; None if z is not normal."""
    gan, batch_stats = trained.gan, trained.stats["batch_stats"]
    truncations: list[Truncation | None] = [None]
    if gan.prior == "normal":
        truncations += [Truncation(float(t), kind) for t in LIMITS[kind] * SHARES]
    content = fingerprint.of_tree(weights)
    rows = []
    for truncation in track(truncations, "statistics by truncation"):
        options = {"truncation": truncation, "passes": passes, "batch_size": BATCH_SIZE}
        measure = lambda options=options: _named(bn_statistics.standing_statistics(gan, weights, 0, **options))
        made_of = f"{content} {trained.config.dtype} {trained.config.model} {truncation} {passes} x {BATCH_SIZE}"
        arrays = cached("moments", made_of, measure)
        rows.append(jax.tree.unflatten(jax.tree.structure(batch_stats), [arrays[name] for name in _named(batch_stats)]))
    bins = jax.tree.map(lambda *bins: np.stack(bins), *rows[1:]) if rows[1:] else None
    return rows[0], bins


def _named(tree: Params) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
