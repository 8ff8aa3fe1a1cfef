"""Grids of draws, by class, z, truncation and chunk of z, and of interpolations; `names` are the labels of classes, by id."""

from collections.abc import Iterable, Sequence

import numpy as np

from biggan_jax.family import Family
from biggan_jax.models.tables import generator_sizes
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.grids import mixing
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
        parts.append(fixed_z(sampler, classes, columns, seed, names).images)
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
    places, dim_z = chunks_of(sampler.gan), sampler.gan.dim_z
    fixed, fresh = np.split(sampler.latents(len(classes) + columns - 1, seed), [len(classes)])
    size = dim_z // len(places)
    redrawn = [slice(start, start + size) for start in range(0, size * len(places), size)] + [slice(None)]
    z = np.broadcast_to(fixed[:, None, None], (len(classes), len(redrawn), columns, dim_z)).copy()
    for i, part in enumerate(redrawn):
        z[:, i, 1:, part] = fresh[:, part]
    images = sampler.images(z.reshape(-1, dim_z), np.repeat(classes, len(redrawn) * columns))
    images = in_rows(images, len(classes) * len(redrawn))
    changes = [np.abs(row[1:].astype(np.float32) - row[0]).mean() / 255 for row in images]
    labels = [f"{names[c]}\n{place}" for c in classes for place in [*places, "all of z"]]
    rows = [f"{label}\nchanges {change:.1%}".strip() for label, change in zip(labels, changes, strict=True)]
    breaks = range(len(redrawn), len(rows), len(redrawn))
    return Grid(images, rows, ["z", "redrawn", *[""] * (columns - 2)], row_breaks=breaks, column_breaks=[1])


def chunks_of(gan: Family) -> list[str]:
    """Name where each chunk of z enters G. Raises UserError if z is not split."""
    if not getattr(gan.networks[gan.sampled].module, "skip_z", False):
        raise UserError("this model does not split z into chunks; --sheet=chunks needs family biggan with model.skip_z")
    sizes = generator_sizes(gan.image_shape[0])
    return ["first layer, 4 px", *(f"block {i + 1}, {size} px" for i, size in enumerate(sizes))]


def interpolation(
    sampler: Sampler,
    classes: np.ndarray,
    rows: int,
    steps: int,
    *,
    between: str,
    spherical: bool,
    seed: int,
    names: Sequence[str],
    space: str = "z",
) -> Grid:
    """Draw one row per pair, in `steps` columns from one end to the other, both ends included.

    between: z, two z of one class; class, two classes with one z; or both. Classes are mixed linearly, by their embeddings.
    z is mixed linearly, which keeps truncated z within its bounds, but the midpoint has a smaller norm and gives more
    typical images; or along the sphere (White 2016), which keeps the norm. space w: the w's of both ends are mixed linearly.
    Raises UserError for fewer than two classes.
    """
    z_from, z_to = np.split(sampler.latents(2 * rows, seed), 2)
    t = np.linspace(0, 1, steps, dtype=np.float32)
    z = between_latents(z_from, z_from if between == "class" else z_to, t, spherical=spherical)
    if between == "z":
        ends = np.resize(classes, rows)
        y, labels = np.repeat(ends, steps), [names[c] for c in ends]
    else:
        first, last = pairs(classes, rows)
        one_hot = np.eye(sampler.gan.num_classes, dtype=np.float32)
        y = np.concatenate(between_latents(one_hot[first], one_hot[last], t))
        labels = [f"{names[a]}\nto {names[b]}" for a, b in zip(first, last, strict=True)]
    latents = z.reshape(rows * steps, -1)
    if space == "w":
        goal = z_from if between == "class" else z_to
        y_from, y_to = (ends, ends) if between == "z" else (first, last)
        latents = mixing.between(sampler, z_from, goal, y_from, y_to, t)
        latents = latents.reshape(rows * steps, *latents.shape[2:])
    images = sampler.images(latents, y)
    return Grid(in_rows(images, rows), labels, [f"{share:.0%}" for share in t])


def pairs(classes: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair each class with the next, repeatedly: [rows] each. Raises UserError for fewer than two classes."""
    if len(classes) < 2:
        raise UserError("interpolation between classes needs two or more; give --classes=3,7 or --between=z")
    return np.resize(classes[:-1], rows), np.resize(classes[1:], rows)


def between_latents(a: np.ndarray, b: np.ndarray, t: np.ndarray, *, spherical: bool = False) -> np.ndarray:
    """Interpolate from a to b, latents or class weights [R, D] each, at shares t: float32 [R, len(t), D]."""
    a, b, t = a[:, None], b[:, None], t[:, None]
    linear = a * (1 - t) + b * t
    if not spherical:
        return linear
    length = lambda x: np.linalg.norm(x, axis=-1, keepdims=True)
    cosine = (a * b).sum(-1, keepdims=True) / np.maximum(length(a) * length(b), 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    # Collinear latents span no plane to rotate in.
    turns = np.sin(angle) > 1e-4
    sine = np.where(turns, np.sin(angle), 1)
    turned = a * np.sin((1 - t) * angle) / sine + b * np.sin(t * angle) / sine
    return np.where(turns, turned, linear).astype(np.float32)
