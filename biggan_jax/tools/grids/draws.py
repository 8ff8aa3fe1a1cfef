"""Owns sheets of independent draws: by class, by z, by truncation, by chunk of z. Must not know how they are laid out.

In all of them names are the words for each class, by its id.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from biggan_jax.gan import GAN
from biggan_jax.models.tables import generator_sizes
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.grids.layout import Sheet, in_rows
from biggan_jax.types import UserError


def classes(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Sheet:
    """A row a class, each picture of a z of its own."""
    z = sampler.latents(len(classes) * columns, seed)
    images = sampler.images(z, np.repeat(classes, columns))
    return Sheet(in_rows(images, len(classes)), [names[c] for c in classes])


def fixed_z(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Sheet:
    """A row a class, a column one z: what z means whatever the class."""
    z = np.tile(sampler.latents(columns, seed), (len(classes), 1))
    images = sampler.images(z, np.repeat(classes, columns))
    return Sheet(in_rows(images, len(classes)), [names[c] for c in classes], [f"z {i + 1}" for i in range(columns)])


def truncation(
    samplers: Iterable[Sampler], classes: np.ndarray, columns: int, seed: int, names: Sequence[str]
) -> Sheet:
    """For each class a row a truncation, a column one z: variety against fidelity (Brock et al. 2019, fig. 2a).

    samplers: of one G, each with a truncation, and moments, of its own. Drawn with the same seed, z of each kind of
    truncation is the same one scaled, or, redrawn, has the same quantiles.
    """
    parts, said = [], []
    for sampler in samplers:
        z = np.tile(sampler.latents(columns, seed), (len(classes), 1))
        parts.append(in_rows(sampler.images(z, np.repeat(classes, columns)), len(classes)))
        said.append(str(sampler.truncation))
    images = np.stack(parts, axis=1)
    rows = [f"{names[c]}\n{truncation}".strip() for c in classes for truncation in said]
    breaks = range(len(said), len(rows), len(said))
    return Sheet(images.reshape(-1, *images.shape[2:]), rows, row_breaks=breaks)


def chunks(sampler: Sampler, classes: np.ndarray, columns: int, seed: int, names: Sequence[str]) -> Sheet:
    """For each class a row a chunk of z, which alone is redrawn, then one for all of z: which chunk changes what.

    The first column is the picture of the z that is changed. Each row says by how much, of the whole range, its pixels
    change in the mean. Raises UserError if the model does not split z.
    """
    places = chunks_of(sampler.gan)
    drawn = sampler.latents(len(classes) + columns - 1, seed)
    fixed, fresh = drawn[: len(classes)], drawn[len(classes) :]
    size = sampler.gan.dim_z // len(places)
    redrawn = [slice(i * size, (i + 1) * size) for i in range(len(places))] + [slice(None)]
    z = np.broadcast_to(fixed[:, None, None], (len(classes), len(redrawn), columns, sampler.gan.dim_z)).copy()
    for i, part in enumerate(redrawn):
        z[:, i, 1:, part] = fresh[:, part]
    per_class = len(redrawn) * columns
    images = in_rows(
        sampler.images(z.reshape(-1, z.shape[-1]), np.repeat(classes, per_class)), len(classes) * len(redrawn)
    )
    rows = [
        f"{names[c]}\n{place}\nchanges {_change(row):.1%}".strip()
        for (c, place), row in zip(
            ((c, place) for c in classes for place in [*places, "all of z"]), images, strict=True
        )
    ]
    breaks = range(len(redrawn), len(rows), len(redrawn))
    return Sheet(images, rows, ["z", "redrawn", *[""] * (columns - 2)], row_breaks=breaks, column_breaks=[1])


def chunks_of(gan: GAN) -> list[str]:
    """Where each chunk of z enters G. Raises UserError if z is not split."""
    if not getattr(gan.generator, "skip_z", False):
        raise UserError(
            "this model's G takes all of z at once, so it has no chunks; they are of family biggan with model.skip_z"
        )
    return [
        "first layer, 4 px",
        *(f"block {i + 1}, {size} px" for i, size in enumerate(generator_sizes(gan.generator.resolution))),
    ]


def _change(row: np.ndarray) -> float:
    """Mean absolute difference of uint8 [N, H, W, 3] from the first, of the whole range."""
    return float(np.abs(row[1:].astype(np.float32) - row[0]).mean() / 255)
