"""Owns batch norm's moments at any truncation: measured at a few, interpolated between them. Must not know pages."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.evaluation.cache import cached
from biggan_jax.evaluation.fingerprint import digest_of_tree
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import statistics as bn_statistics
from biggan_jax.types import Params

LIMITS = {"resample": 2.0, "scale": 1.0, "std": 1.0}
"""The largest threshold, by kind. Above 2, hardly any entry of z is drawn again; scale's and std's users end at 1."""

SHARES = np.linspace(0, 1, 5) ** 2
"""Of the largest threshold, where moments are measured: closer to each other near 0, where they change most.

In equal steps, pictures at a quarter were as far from those of exact moments as three times the noise of measuring.
"""

BATCH_SIZE = 16
"""Latents a batch: what one pass at 128 pixels takes a few seconds for on two cores."""


class Moments(NamedTuple):
    """at: the moments for a threshold, or for none. said: where they are from, for people."""

    at: Callable[[float | None], Params]
    said: str


def moments_of(trained: TrainedGenerator, weights: Params, statistics: str, kind: str, passes: int) -> Moments:
    """Moments by `statistics` (see sampler.STATISTICS) for truncation of `kind`. Standing ones are measured now, or were before.

    What is measured is kept by its content (`evaluation.cache`): the second start does not measure again.
    """
    if statistics == "running":
        return Moments(lambda threshold: trained.stats["batch_stats"], "training's, whatever the truncation")
    if statistics.startswith("binned"):
        untruncated, bins, thresholds = None, trained.binned, np.array([0.0, 1.0])
        said = "those that came with the weights, by truncation"
    else:
        thresholds = LIMITS[kind] * SHARES
        untruncated, bins = _measured(trained, weights, kind, passes)
        said = f"measured on {passes * BATCH_SIZE} images"
        if bins is not None:
            said += f" at each of {len(SHARES)} truncations, interpolated between them"

    @functools.lru_cache(maxsize=16)
    def at(threshold: float | None) -> Params:
        if threshold is None and untruncated is not None:
            return untruncated
        share = np.interp(1.0 if threshold is None else threshold, thresholds, np.linspace(0, 1, len(thresholds)))
        assert bins is not None  # Without them no threshold is offered.
        return bn_statistics.binned_statistics(bins, float(share), swapped=statistics == "binned_as_hf")

    return Moments(at, said)


def _measured(trained: TrainedGenerator, weights: Params, kind: str, passes: int) -> tuple[Params, Params | None]:
    """Moments without truncation, [C], and at thresholds from 0 to the largest, [SHARES, C]; None if z is not normal."""
    gan, tree = trained.gan, jax.tree.structure(trained.stats["batch_stats"])
    truncations: list[Truncation | None] = [None]
    if gan.prior == "normal":
        truncations += [Truncation(float(t), kind) for t in LIMITS[kind] * SHARES]
    content = digest_of_tree(weights)
    rows = []
    for truncation in track(truncations, "moments by truncation"):
        options = {"truncation": truncation, "passes": passes, "batch_size": BATCH_SIZE}
        measure = functools.partial(_named_moments, gan, weights, options)
        made_of = f"{content} {trained.config.dtype} {trained.config.model} {truncation} {passes} x {BATCH_SIZE}"
        arrays = cached("moments", made_of, measure)
        rows.append(jax.tree.unflatten(tree, [arrays[name] for name in _named(trained.stats["batch_stats"])]))
    bins = jax.tree.map(lambda *bins: np.stack(bins), *rows[1:]) if rows[1:] else None
    return rows[0], bins


def _named_moments(gan: GAN, weights: Params, options: dict[str, Any]) -> dict[str, np.ndarray]:
    return _named(bn_statistics.standing_statistics(gan, weights, 0, **options))


def _named(tree: Params) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
