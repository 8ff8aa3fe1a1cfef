"""Interpolation between samples: in z, in class, or in both."""

from collections.abc import Sequence

import numpy as np

from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.layout import Grid, in_rows
from biggan_jax.types import UserError

BETWEEN = ("z", "class", "both")
"""Two z of one class; two classes with one z; a z of one class and another z of another class."""


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
) -> Grid:
    """Draw one row per pair, in `steps` columns from one end to the other, both ends included.

    Classes are mixed linearly, by their embeddings. z is mixed linearly, which keeps truncated z within its bounds, but
    the midpoint has a smaller norm and gives more typical images; or along the sphere (White 2016), which keeps the norm.
    Raises UserError if classes are to be interpolated, and there are fewer than two.
    """
    z_from, z_to = np.split(sampler.latents(2 * rows, seed), 2)
    t = np.linspace(0, 1, steps, dtype=np.float32)
    z = between_latents(z_from, z_from if between == "class" else z_to, t, spherical=spherical)
    if between == "z":
        ends = np.resize(classes, rows)
        y, labels = np.repeat(ends, steps), [names[c] for c in ends]
    else:
        first, last = pairs(classes, rows)
        y = mixtures(first, last, t, sampler.gan.num_classes).reshape(-1, sampler.gan.num_classes)
        labels = [f"{names[a]}\nto {names[b]}" for a, b in zip(first, last, strict=True)]
    images = sampler.images(z.reshape(rows * steps, -1), y)
    return Grid(in_rows(images, rows), labels, [f"{share:.0%}" for share in t])


def pairs(classes: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair each class with the next, repeatedly: [rows] each. Raises UserError for fewer than two classes."""
    if len(classes) < 2:
        raise UserError("interpolation between classes needs two or more; give --classes=3,7 or --between=z")
    return np.resize(classes[:-1], rows), np.resize(classes[1:], rows)


def mixtures(first: np.ndarray, last: np.ndarray, t: np.ndarray, num_classes: int) -> np.ndarray:
    """Mix classes `first` and `last`, int [R], at shares t: float32 [R, len(t), num_classes]."""
    one_hot = np.eye(num_classes, dtype=np.float32)
    return _linear(one_hot[first][:, None], one_hot[last][:, None], t[:, None])


def between_latents(a: np.ndarray, b: np.ndarray, t: np.ndarray, *, spherical: bool = False) -> np.ndarray:
    """Interpolate from a to b, [R, D] each, at shares t: float32 [R, len(t), D]."""
    a, b, t = a[:, None], b[:, None], t[:, None]
    if not spherical:
        return _linear(a, b, t)
    length = lambda x: np.linalg.norm(x, axis=-1, keepdims=True)
    cosine = (a * b).sum(-1, keepdims=True) / np.maximum(length(a) * length(b), 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    # Collinear latents span no plane to rotate in.
    turns = np.sin(angle) > 1e-4
    sine = np.where(turns, np.sin(angle), 1)
    turned = a * np.sin((1 - t) * angle) / sine + b * np.sin(t * angle) / sine
    return np.where(turns, turned, _linear(a, b, t)).astype(np.float32)


def _linear(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return a * (1 - t) + b * t
