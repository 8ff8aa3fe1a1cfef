"""Image attributes that are measured without a network."""

from collections.abc import Callable

import numpy as np

from biggan_jax.sampling.pictures import to_rgb


def luminance(images: np.ndarray) -> np.ndarray:
    """Convert uint8 [N, H, W, 1 or 3] to float64 [N, H, W] in [0, 1] (ITU-R BT.601 weights)."""
    return to_rgb(images) @ np.array([0.299, 0.587, 0.114]) / 255


def brightness(images: np.ndarray) -> np.ndarray:
    """Return the mean luminance, 0 to 1."""
    return luminance(images).mean((1, 2))


def saturation(images: np.ndarray) -> np.ndarray:
    """Return the mean difference between a pixel's largest and smallest channel: 0 for grey images, up to 1."""
    return (images.max(-1).astype(np.float64) - images.min(-1)).mean((1, 2)) / 255


def slant(images: np.ndarray) -> np.ndarray:
    """Return how far the content leans to the right, in pixels across per pixel up: 1 is 45 degrees.

    Each pixel is weighted by the difference of its luminance from the median of the border, which is taken as background.
    """
    light = luminance(images)
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], axis=1)
    mass = np.abs(light - np.median(border, axis=1)[:, None, None]) + 1e-9
    mass /= mass.sum((1, 2), keepdims=True)
    rows, columns = np.indices(light.shape[1:])
    up = (mass * rows).sum((1, 2))[:, None, None] - rows
    across = columns - (mass * columns).sum((1, 2))[:, None, None]
    return (mass * up * across).sum((1, 2)) / (mass * up**2).sum((1, 2))


ATTRIBUTES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brightness": brightness,
    "saturation": saturation,
    "slant": slant,
}
"""Functions from images uint8 [N, H, W, C] to one number each, float64 [N]."""
