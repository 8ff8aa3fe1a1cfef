"""Grids of w: style mixing, and interpolation between w's."""

from collections.abc import Sequence

import numpy as np

from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.styles import ws_of
from biggan_jax.tools.layout import Grid

SHARE = 7 / 18  # Of layers that style mixing takes by default; Karras et al. 2019 call them coarse and middle.


def style_mixing(
    sampler: Sampler, classes: np.ndarray, rows: int, columns: int, layers: np.ndarray, seed: int, names: Sequence[str]
) -> Grid:
    """Draw images whose w is that of the row, and in some layers that of the column (Karras et al. 2019, fig. 3).

    layers: bool [styles], those of the column. classes: of the sources in turn, rows first. The first row and column show the
    sources. sampler: has fixed noise.
    """
    y = np.resize(classes, rows + columns).astype(np.int32)
    ws = ws_of(sampler, sampler.latents(rows + columns, seed), y)
    own, other = ws[:rows, None], ws[None, rows:]
    mixed = np.where(layers[:, None], other, own)
    mixed = np.concatenate([own, mixed], axis=1).reshape(-1, *ws.shape[1:])
    labels = np.repeat(y[:rows], columns + 1)
    images = sampler.images(np.concatenate([ws[rows:], mixed]), np.concatenate([y[rows:], labels]))
    grid = np.full((rows + 1, columns + 1, *images.shape[1:]), 255, np.uint8)
    grid[0, 1:] = images[:columns]
    grid[1:] = images[columns:].reshape(rows, columns + 1, *images.shape[1:])
    named = [names[label] for label in y] if len(set(y.tolist())) > 1 else [""] * len(y)
    above = [named[rows + i] or f"source {i + 1}" for i in range(columns)]
    return Grid(grid, ["", *named[:rows]], ["", *above], row_breaks=[1], column_breaks=[1])


def between(
    sampler: Sampler, z_from: np.ndarray, z_to: np.ndarray, y_from: np.ndarray, y_to: np.ndarray, t: np.ndarray
):
    """Return w's [R, len(t), styles, dim_w] on lines from those of z_from [R, dim_z] and y_from [R] to the others."""
    a, b = (ws_of(sampler, z, y)[:, None] for z, y in ((z_from, y_from), (z_to, y_to)))
    share = t[:, None, None]
    return (a * (1 - share) + b * share).astype(np.float32)
