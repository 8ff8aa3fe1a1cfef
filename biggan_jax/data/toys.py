"""Distributions in the plane, on which coverage of modes can be counted (Gulrajani et al. 2017, gan_toy.py)."""

import numpy as np

from biggan_jax.data.dataset import Images
from biggan_jax.types import UserError

COUNT = {"train": 100_000, "test": 10_000}  # Points per split; both are the same every time.

RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1) * np.sqrt(2)
GRID = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2) / np.sqrt(2)
MODES = {"gaussians8": (RING, 0.02 / np.sqrt(2)), "gaussians25": (GRID, 0.05 / np.sqrt(8))}
"""Name to (centres [modes, 2], standard deviation of each)."""


def points(name: str, shape: tuple[int, ...], split: str) -> Images:
    """Return float32 [N, 2]: points of one of MODES, labelled by mode, or of swiss_roll. Raises UserError if shape is not (2,)."""
    if shape != (2,):
        raise UserError(f"data.name {name} has points of shape (2,), but this model's data have the shape {shape}")
    rng, count = np.random.default_rng(["train", "test"].index(split)), COUNT[split]
    if name in MODES:
        centres, deviation = MODES[name]
        label = rng.integers(0, len(centres), count, dtype=np.int32)
        found = centres[label] + deviation * rng.standard_normal((count, 2))
        return Images(found.astype(np.float32), label, len(centres))
    angle = 1.5 * np.pi * (1 + 2 * rng.random(count))
    found = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) + 0.25 * rng.standard_normal((count, 2))
    return Images((found / 7.5).astype(np.float32), np.zeros(count, np.int32), 1)


def coverage(name: str, samples: np.ndarray) -> tuple[int, float]:
    """Return (modes with a sample within 3 standard deviations, share of samples that are), for float [N, 2]."""
    centres, deviation = MODES[name]
    distance = np.linalg.norm(samples[:, None] - centres, axis=-1)
    near = distance.min(1) <= 3 * deviation
    return len(np.unique(distance.argmin(1)[near])), float(near.mean())
