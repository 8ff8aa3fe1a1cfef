"""Grids of independent draws: by class, by z, by truncation, by chunk of z.

In all of them, `names` are the labels of the classes, by id.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from biggan_jax.family import Family
from biggan_jax.models.tables import generator_sizes
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.layout import Grid, in_rows
from biggan_jax.types import UserError


def classes(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Grid:
    """Draw one row per class, each image from a different z."""
    z = sampler.latents(len(classes) * columns, seed)
    images = sampler.images(z, np.repeat(classes, columns))
    return Grid(in_rows(images, len(classes)), [names[c] for c in classes])


def fixed_z(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Grid:
    """Draw one row per class and one column per z: what z determines in every class."""
    z = np.tile(sampler.latents(columns, seed), (len(classes), 1))
    images = sampler.images(z, np.repeat(classes, columns))
    return Grid(in_rows(images, len(classes)), [names[c] for c in classes], [f"z {i + 1}" for i in range(columns)])


def truncation(samplers: Iterable[Sampler], classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Grid:
    """Draw, for each class, one row per truncation and one column per z (Brock et al. 2019, fig. 2a).

    samplers: of one model, each with its own truncation and statistics. With the same seed, z at each threshold is the same
    z, scaled; if resampled, it has the same quantiles.
    """
    parts, thresholds = [], []
    for sampler in samplers:
        z = np.tile(sampler.latents(columns, seed), (len(classes), 1))
        parts.append(in_rows(sampler.images(z, np.repeat(classes, columns)), len(classes)))
        thresholds.append(str(sampler.truncation))
    images = np.stack(parts, axis=1)
    rows = [f"{names[c]}\n{truncation}".strip() for c in classes for truncation in thresholds]
    breaks = range(len(thresholds), len(rows), len(thresholds))
    return Grid(images.reshape(-1, *images.shape[2:]), rows, row_breaks=breaks)


def chunks(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Grid:
    """Draw, for each class, one row per chunk of z in which only that chunk is redrawn, and one row that redraws all of z.

    The first column shows the original z. Row labels give the mean absolute change of pixels, relative to the full range.
    Raises UserError if the model does not split z.
    """
    places = chunks_of(sampler.gan)
    drawn = sampler.latents(len(classes) + columns - 1, seed)
    fixed, fresh = drawn[: len(classes)], drawn[len(classes) :]
    size = sampler.gan.dim_z // len(places)
    redrawn = [slice(i * size, (i + 1) * size) for i in range(len(places))] + [slice(None)]
    z = np.broadcast_to(fixed[:, None, None], (len(classes), len(redrawn), columns, sampler.gan.dim_z)).copy()
    for i, part in enumerate(redrawn):
        z[:, i, 1:, part] = fresh[:, part]
    images = sampler.images(z.reshape(-1, z.shape[-1]), np.repeat(classes, len(redrawn) * columns))
    images = in_rows(images, len(classes) * len(redrawn))
    labels = [f"{names[c]}\n{place}" for c in classes for place in [*places, "all of z"]]
    rows = [f"{label}\nchanges {_change(row):.1%}".strip() for label, row in zip(labels, images, strict=True)]
    breaks = range(len(redrawn), len(rows), len(redrawn))
    return Grid(images, rows, ["z", "redrawn", *[""] * (columns - 2)], row_breaks=breaks, column_breaks=[1])


def chunks_of(gan: Family) -> list[str]:
    """Name where each chunk of z enters G. Raises UserError if z is not split."""
    if not getattr(gan.networks[gan.sampled].module, "skip_z", False):
        raise UserError(
            "this model's generator does not split z into chunks; --sheet=chunks needs family biggan with model.skip_z"
        )
    sizes = generator_sizes(gan.image_shape[0])
    return ["first layer, 4 px", *(f"block {i + 1}, {size} px" for i, size in enumerate(sizes))]


def _change(row: np.ndarray) -> float:
    """Return the mean absolute difference of uint8 [N, H, W, C] from the first image, relative to the full range."""
    return float(np.abs(row[1:].astype(np.float32) - row[0]).mean() / 255)
