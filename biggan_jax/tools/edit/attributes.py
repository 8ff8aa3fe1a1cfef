"""Owns attributes that can be measured on pictures themselves, without a network. Must not know latents."""

from collections.abc import Callable

import numpy as np


def luminance(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] to float64 [N, H, W] in [0, 1] (ITU-R BT.601's weights)."""
    return images @ np.array([0.299, 0.587, 0.114]) / 255


def brightness(images: np.ndarray) -> np.ndarray:
    """Mean luminance, 0 to 1."""
    return luminance(images).mean((1, 2))


def saturation(images: np.ndarray) -> np.ndarray:
    """Mean of a pixel's largest minus its smallest channel, 0 for grey pictures, to 1."""
    return (images.max(-1).astype(np.float64) - images.min(-1)).mean((1, 2)) / 255


def slant(images: np.ndarray) -> np.ndarray:
    """How far the picture leans to the right, in pixels across for a pixel up: 1 is 45 degrees.

    Pixels weigh what their luminance differs from that of the border, which is taken for the background.
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
"""Images uint8 [N, H, W, 3] to a number each, float64 [N]."""
