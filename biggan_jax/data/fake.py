"""Owns random images for benchmarks and dry runs. Must not be mistaken for data."""

import numpy as np

from biggan_jax.data.dataset import Images


def images(resolution: int, num_classes: int, count: int = 1024) -> Images:
    """`count` images of uniform noise with random labels, the same every time."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, resolution, resolution, 3), dtype=np.uint8)
    return Images(pictures, rng.integers(0, max(num_classes, 1), count, dtype=np.int32), num_classes)
