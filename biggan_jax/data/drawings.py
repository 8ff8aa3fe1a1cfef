"""Draw the lines of pictures, from which a network learns to colour line drawings."""

import cv2
import numpy as np

from biggan_jax.data import picture

WEAK, STRONG, WIDTH = 100, 250, 2
"""Thresholds of the gradient, in grey levels by Sobel's kernels: lines begin at STRONG and continue to WEAK. WIDTH: of a line, in
pixels of the drawing."""


def lines(image: np.ndarray) -> np.ndarray:
    """Draw the edges of uint8 [H, W, 3] by Canny's detector: black on white, uint8 [H, W, 1].

    The gradient of a pixel is that of the channel in which it is largest, so that colours of equal brightness have an edge.
    """
    smooth = cv2.GaussianBlur(image, (3, 3), 0)
    dx, dy = (cv2.Sobel(smooth, cv2.CV_16S, *order) for order in ((1, 0), (0, 1)))
    chosen = (np.abs(dx.astype(np.int32)) + np.abs(dy.astype(np.int32))).argmax(-1)[..., None]
    dx, dy = (np.ascontiguousarray(np.take_along_axis(d, chosen, -1)[..., 0]) for d in (dx, dy))
    edges = cv2.dilate(cv2.Canny(dx, dy, WEAK, STRONG), np.ones((WIDTH, WIDTH), np.uint8))
    return 255 - edges[..., None]


def pair(encoded: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the drawing of a picture's file, uint8 [H, W, 1], and the picture, [H, W, 3], both of one size.

    size: of the set's pictures. The shorter edge is reduced to twice that, so that lines of large photos are as wide as those of
    small pictures. Raises picture.UnreadableError.
    """
    image = picture.decode(encoded, upright=True)
    height, width = image.shape[:2]
    if (factor := 2 * size / min(height, width)) < 1:
        image = picture.resize(image, (max(1, round(height * factor)), max(1, round(width * factor))), "area")
    return lines(image), image
