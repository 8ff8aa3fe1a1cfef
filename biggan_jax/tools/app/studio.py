"""Draw the views of the page, with batch-norm statistics for any truncation, interpolated between a few thresholds."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import jax
import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, kept_statistics, pictures
from biggan_jax.sampling.sampler import Sampler, check_finite, resolve
from biggan_jax.sampling.styles import with_fixed_noise
from biggan_jax.tools.app.views import SEEDS, End, View
from biggan_jax.tools.classes import class_weights
from biggan_jax.tools.grids.draws import between_latents
from biggan_jax.types import Params

BATCH_SIZE = 2
"""Images in a batch: few, so that the first appear soon, and a newer request need not wait long. On two cores, BigGAN-128
takes 0.37 s for one image, 0.44 for two, 0.68 for four, 1.3 for eight."""

LIMITS = {"resample": 2.0, "scale": 1.0, "std": 1.0, "w": 1.0}
"""The largest threshold, by kind. Above 2, few entries of z are resampled; users of scale and std stay below 1."""

SHARES = np.linspace(0, 1, 5) ** 2
"""Thresholds that are measured, relative to the largest: denser near 0, where statistics change most. With equal steps,
images at a quarter differed from exact ones by three times the noise of measuring."""

MEASURED = 16  # Latents in a batch of measured statistics: a pass at 128 pixels takes a few seconds on two cores.


class Statistics(NamedTuple):
    """at: the model's variables for a threshold, or for none. description: where they come from, shown on the page."""

    at: Callable[[float | None], dict[str, Params]]
    description: str


def statistics_of(trained: TrainedGenerator, weights: Params, statistics: str, kind: str, passes: int) -> Statistics:
    """Return `statistics` (one of sampler.STATISTICS) for truncation of `kind`. Standing ones are measured, and cached."""
    if statistics == "running":
        return Statistics(lambda threshold: trained.variables, "those of training, at any truncation")
    if statistics.startswith("binned"):
        untruncated, bins, thresholds = None, trained.binned, np.array([0.0, 1.0])
        description = "those that come with the weights, by truncation"
    else:
        thresholds = LIMITS[kind] * SHARES
        untruncated, bins = _measured(trained, weights, kind, passes)
        description = f"measured on {passes * MEASURED} images"
        if bins is not None:
            description += f" at each of {len(SHARES)} truncations, interpolated between them"

    @functools.lru_cache(maxsize=16)
    def at(threshold: float | None) -> dict[str, Params]:
        if threshold is None and untruncated is not None:
            return trained.variables | {"batch_stats": untruncated}
        share = np.interp(1.0 if threshold is None else threshold, thresholds, np.linspace(0, 1, len(thresholds)))
        assert bins is not None  # Without bins, the page offers no truncation.
        swapped = statistics == "binned_as_hf"
        return trained.variables | {"batch_stats": generate.binned_statistics(bins, float(share), swapped=swapped)}

    return Statistics(at, description)


def _measured(trained: TrainedGenerator, weights: Params, kind: str, passes: int) -> tuple[Params, Params | None]:
    """Return batch-norm statistics without truncation [C] and at shares of the largest threshold [SHARES, C].

    The latter are None if z is not normal.
    """
    truncations: list[Truncation | None] = [None]
    if trained.gan.prior == "normal":
        truncations += [Truncation(float(t), kind) for t in LIMITS[kind] * SHARES]
    measured = kept_statistics.standing_statistics(
        trained.gan, trained.config, weights, 0, passes=passes, batch_size=MEASURED, show=False
    )
    rows = [measured(truncation) for truncation in track(truncations, "statistics by truncation")]
    return rows[0], jax.tree.map(lambda *bins: np.stack(bins), *rows[1:]) if rows[1:] else None


@dataclasses.dataclass(frozen=True)
class Studio:
    """weights: normalised. kind: of truncation. limit: its largest threshold; None if z is not normal, and there is no w."""

    gan: Family
    weights: Params
    batch_stats: Statistics
    statistics: str
    kind: str
    limit: float | None

    @classmethod
    def from_checkpoint(cls, trained: TrainedGenerator, kind: str, statistics: str | None, passes: int) -> Self:
        """Prepare a checkpoint; `passes`: see `statistics_of`. Raises UserError if statistics and kind do not fit."""
        gan = trained.gan
        check_finite(trained)
        pictures.check_drawable(gan.image_shape)
        statistics, _, _ = resolve(trained, Truncation(LIMITS[kind], kind), statistics)
        weights = generate.evaluation_weights(gan, trained.params, trained.spectral)
        batch_stats = statistics_of(trained, weights, statistics, kind, passes)
        limit = LIMITS[kind] if gan.prior == "normal" or kind == "w" else None
        studio = cls(gan, weights, batch_stats, statistics, kind, limit)
        mixture = ((0, 1.0),) if gan.num_classes else ()
        for truncation in {None, limit}:  # Compile now, so that the first visitor does not wait for it.
            next(studio.draw(View(1, truncation, End(0, mixture))))
        return studio

    def sampler(self, threshold: float | None) -> Sampler:
        if threshold is None and self.statistics.startswith("binned"):
            threshold = 1.0  # As in sampler.resolve: binned statistics exist for truncated z only.
        truncation = None if threshold is None else Truncation(threshold, self.kind)
        variables = self.gan.truncated(self.batch_stats.at(threshold), truncation)
        return with_fixed_noise(Sampler(self.gan, self.weights, variables, truncation, self.statistics))

    def latents(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return z float32 [num, dim_z], and class weights float32 [num, num_classes]; int32 [num] if unconditional."""
        sampler = self.sampler(view.truncation)
        share = np.linspace(0, 1, view.num, dtype=np.float32)
        if view.goal is None:
            seeds = [(view.start.seed + i) % SEEDS for i in range(view.num)]
            z = np.concatenate([sampler.latents(1, seed) for seed in seeds])
        else:
            start, goal = (sampler.latents(1, end.seed) for end in (view.start, view.goal))
            (z,) = between_latents(start, goal, share, spherical=True)
        if not self.gan.num_classes:
            return z, np.zeros(view.num, np.int32)
        # Weights even for a single class: labels would compile G again.
        ends = [[(weight, label) for label, weight in end.mixture] for end in (view.start, view.goal or view.start)]
        first, last = (class_weights(terms, self.gan.num_classes) for terms in ends)
        return z, first + share[:, None] * (last - first)

    def draw(self, view: View) -> Iterator[np.ndarray]:
        """Generate images batch by batch, uint8 [up to BATCH_SIZE, H, W, C]; of clips, frames in a row."""
        sampler = self.sampler(view.truncation)
        for *batch, count in generate.batches_of(self.gan, *self.latents(view), BATCH_SIZE):
            yield pictures.film(sampler.picture_batch(*batch)[:count], self.gan.frames)
