"""Draw the views of the page, compiled once for one batch shape."""

import dataclasses
from collections.abc import Iterator
from typing import Self

import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler, resolve
from biggan_jax.tools.app.statistics import LIMITS, Statistics, statistics_of
from biggan_jax.tools.app.views import SEEDS, End, View
from biggan_jax.tools.grids.interpolation import between_latents
from biggan_jax.types import Params

BATCH_SIZE = 2
"""Images in a batch: few, so that the first appear soon, and a newer request need not wait long. On two cores, BigGAN-128
takes 0.37 s for one image, 0.44 for two, 0.68 for four, 1.3 for eight."""


@dataclasses.dataclass(frozen=True)
class Studio:
    """weights: normalised. kind: of truncation. limit: its largest threshold; None if the prior of z is not normal."""

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
        pictures.check_drawable(gan.image_shape)
        statistics, _, _ = resolve(trained, Truncation(LIMITS[kind], kind), statistics)
        weights = generate.evaluation_weights(gan, trained.params, trained.spectral)
        batch_stats = statistics_of(trained, weights, statistics, kind, passes)
        limit = LIMITS[kind] if gan.prior == "normal" else None
        studio = cls(gan, weights, batch_stats, statistics, kind, limit)
        mixture = ((0, 1.0),) if gan.num_classes else ()
        for truncation in {None, limit}:  # Compile now, so that the first visitor does not wait for it.
            next(studio.draw(View(1, truncation, End(0, mixture))))
        return studio

    def sampler(self, threshold: float | None) -> Sampler:
        if threshold is None and self.statistics.startswith("binned"):
            threshold = 1.0  # As in sampler.resolve: binned statistics exist for truncated z only.
        truncation = None if threshold is None else Truncation(threshold, self.kind)
        return Sampler(self.gan, self.weights, self.batch_stats.at(threshold), truncation, self.statistics)

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
        first, last = self._weights(view.start), self._weights(view.goal or view.start)
        return z, first + share[:, None] * (last - first)

    def draw(self, view: View) -> Iterator[np.ndarray]:
        """Generate images batch by batch, uint8 [up to BATCH_SIZE, H, W, C]."""
        sampler = self.sampler(view.truncation)
        for *batch, count in generate.batches_of(self.gan, *self.latents(view), BATCH_SIZE):
            yield pictures.to_uint8(np.asarray(sampler.generate_batch(*batch))[:count])

    def _weights(self, end: End) -> np.ndarray:
        """Return class weights, float32 [num_classes], even for a single class: labels would compile G again."""
        weights = np.zeros(self.gan.num_classes, np.float32)
        for label, weight in end.mixture:
            weights[label] = weight
        return weights
