"""Owns a trained G made ready to draw from: its weights, its batch norm's moments, how its z is drawn. Must not know command lines."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling import statistics as bn_statistics
from biggan_jax.types import Label, Latent, Params, UserError

STATISTICS = ("standing", "running", "binned", "binned_as_hf")
"""Batch-norm moments: averaged over fresh batches; training's; or those for the truncation that came with the weights,
interpolated, or weighed as Hugging Face does."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """weights: normalised; moments: of batch norm, as `statistics` says in words; truncation: that of z, and of the moments."""

    gan: GAN
    weights: Params
    moments: Params
    truncation: Truncation | None
    statistics: str

    def latents(self, num: int, seed: int = 0) -> np.ndarray:
        """z float32 [num, dim_z], truncated as the sampler is."""
        return np.asarray(generate.draw_latents(self.gan, jax.random.key(seed), num, self.truncation))

    def floats(self, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
        """Images float32 [N, H, W, 3] in [-1, 1]."""
        return np.concatenate([np.asarray(images)[:count] for images, count in self.batches(z, y, batch_size)])

    def images(self, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
        """Images uint8 [N, H, W, 3]."""
        batches = self.batches(z, y, batch_size)
        return np.concatenate([pictures.to_uint8(np.asarray(images)[:count]) for images, count in batches])

    def batches(self, z: Latent, y: Label, batch_size: int = 64) -> Iterator[tuple[jax.Array, int]]:
        """Images float32 [B, H, W, 3] in [-1, 1], on the devices, a batch at a time, and how many of each are not filling."""
        batches = list(generate.batches_of(self.gan, z, y, batch_size))
        for z, y, count in track(batches, "images"):
            yield generate.images(self.gan, self.weights, self.moments, z, y), count


def ready(
    trained: TrainedGenerator,
    truncation: Truncation | None = None,
    *,
    statistics: str | None = None,
    passes: int = 100,
    seed: int = 0,
) -> Sampler:
    """The sampler of a checkpoint. statistics: by default binned where there are such, else standing, of `passes` batches.

    Binned statistics were measured for z of kind `scale`, and without a truncation they are those at 1. Raises UserError if
    the statistics are not there, or do not go with the truncation.
    """
    gan = trained.gan
    truncation, words = described(trained, truncation, statistics, passes)
    statistics = statistics or default_statistics(trained)
    weights = generate.evaluation_weights(gan, trained.params, trained.stats["spectral"])
    if statistics == "running":
        moments = trained.stats["batch_stats"]
    elif statistics == "standing":
        show = lambda passes: track(passes, "standing statistics")
        moments = bn_statistics.standing_statistics(
            gan, weights, seed, truncation=truncation, passes=passes, track=show
        )
    else:
        assert trained.binned is not None and truncation is not None  # As `described` saw to.
        moments = bn_statistics.binned_statistics(
            trained.binned, truncation.threshold, swapped=statistics == "binned_as_hf"
        )
    return Sampler(gan, weights, moments, truncation, words)


def described(
    trained: TrainedGenerator, truncation: Truncation | None, statistics: str | None, passes: int
) -> tuple[Truncation | None, str]:
    """The truncation and the statistics, in words, that `ready` gives for these, at no cost. Raises UserError as it does."""
    statistics = check_statistics(trained, truncation, statistics)
    if statistics == "standing":
        size = generate.divisible(trained.gan, bn_statistics.STANDING_BATCH)
        return truncation, f"standing, {passes} batches of {size}"
    if statistics.startswith("binned"):
        return truncation or Truncation(1.0, "scale"), statistics
    return truncation, statistics


def default_statistics(trained: TrainedGenerator) -> str:
    """Those that came with the weights, where they did."""
    return "binned" if trained.binned else "standing"


def check_statistics(trained: TrainedGenerator, truncation: Truncation | None, statistics: str | None) -> str:
    """Which statistics it will be. Raises UserError if they are not there, or do not go with the truncation."""
    statistics = statistics or default_statistics(trained)
    if not statistics.startswith("binned"):
        return statistics
    if trained.binned is None:
        raise UserError(f"statistics {statistics}: this checkpoint carries no statistics by truncation; use standing")
    if truncation and truncation.kind != "scale":
        raise UserError(
            f"binned statistics were measured for truncation of kind scale, not {truncation.kind}; "
            "use --truncation_kind=scale or --statistics=standing"
        )
    if truncation and truncation.threshold > 1:
        raise UserError(
            f"truncation {truncation.threshold:g}: binned statistics reach from 0 to 1; or use --statistics=standing"
        )
    return statistics
