"""Owns a G that is ready to draw any view within moments: compiled once, for one shape. Must not know HTTP."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler, check_statistics
from biggan_jax.tools.app.moments import LIMITS, Moments, moments_of
from biggan_jax.tools.app.views import SEEDS, End, View
from biggan_jax.tools.grids.interpolation import between_latents
from biggan_jax.types import Params

BATCH_SIZE = 2
"""Images drawn at once: few, so that the first are soon there and a newer request soon has its turn. On two cores, BigGAN-128
takes 0.37 s for one, 0.44 for two, 0.68 for four, 1.3 for eight."""


@dataclasses.dataclass(frozen=True)
class Studio:
    """weights: normalised; kind: of truncation; limit: its largest threshold, None where z's prior is not the normal."""

    gan: GAN
    weights: Params
    moments: Moments
    statistics: str
    kind: str
    limit: float | None

    def sampler(self, threshold: float | None) -> Sampler:
        if threshold is None and self.statistics.startswith("binned"):
            threshold = 1.0  # As sampler.ready has it: these statistics know no z that is not truncated.
        truncation = None if threshold is None else Truncation(threshold, self.kind)
        return Sampler(self.gan, self.weights, self.moments.at(threshold), truncation, self.statistics)

    def latents(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """z float32 [num, dim_z], and y: weights over classes, float32 [num, num_classes]; int32 [num] if unconditional."""
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
        """Images uint8 [up to BATCH_SIZE, H, W, 3], one batch after the other, as they are asked for."""
        sampler = self.sampler(view.truncation)
        z, y = self.latents(view)
        for *batch, count in generate.batches_of(self.gan, z, y, BATCH_SIZE):
            images = generate.images(self.gan, self.weights, sampler.moments, *batch)
            yield pictures.to_uint8(np.asarray(images)[:count])

    def _weights(self, end: End) -> np.ndarray:
        """Over classes, float32 [num_classes]; for one class, too, since G would be compiled once more for labels."""
        weights = np.zeros(self.gan.num_classes, np.float32)
        for label, weight in end.mixture:
            weights[label] = weight
        return weights


def ready(trained: TrainedGenerator, kind: str, statistics: str | None, passes: int) -> Studio:
    """The studio of a checkpoint; `passes`: see `moments_of`. Raises UserError if statistics and kind do not go together."""
    gan = trained.gan
    statistics = check_statistics(trained, Truncation(LIMITS[kind], kind), statistics)
    weights = generate.evaluation_weights(gan, trained.params, trained.stats["spectral"])
    moments = moments_of(trained, weights, statistics, kind, passes)
    limit = LIMITS[kind] if gan.prior == "normal" else None
    studio = Studio(gan, weights, moments, statistics, kind, limit)
    mixture = ((0, 1.0),) if gan.num_classes else ()
    for truncation in {None, limit}:  # What the first visitor would otherwise wait for.
        next(studio.draw(View(1, truncation, End(0, mixture))))
    return studio


def sheet(images: np.ndarray, columns: int) -> bytes:
    """uint8 [N, H, W, 3] as one PNG, enlarged by a whole factor if it is small."""
    return pictures.png(pictures.enlarged(pictures.grid(images, columns)))
