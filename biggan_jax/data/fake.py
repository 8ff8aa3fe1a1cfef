"""Random images or vectors for benchmarks and dry runs."""

import numpy as np

from biggan_jax.data.dataset import Images


def images(shape: tuple[int, ...], num_classes: int, count: int = 1024) -> Images:
    """Return the same `count` examples of noise every time, with random labels: uniform pixels, or normal vectors."""
    rng = np.random.default_rng(0)
    if len(shape) == 1:
        noise = rng.standard_normal((count, *shape), np.float32)
    else:
        noise = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Images(noise, rng.integers(0, max(num_classes, 1), count, dtype=np.int32), num_classes)
