"""How the classes of samples are drawn: equally many of each, at random, or as labelled data have them."""

from collections.abc import Callable

import numpy as np

from biggan_jax.config import choose

LABELINGS: dict[str, Callable[[np.random.Generator, int, int, np.ndarray], np.ndarray]] = {
    "balanced": lambda rng, num, classes, real: np.arange(num) % classes,
    "uniform": lambda rng, num, classes, real: rng.integers(0, classes, num),
    "data": lambda rng, num, classes, real: rng.choice(real, num),
}
"""By name: each class in turn; uniformly at random; with the frequencies of the real images."""


def draw_labels(how: str, num: int, classes: int, seed: int, real: np.ndarray | None = None) -> np.ndarray:
    """Draw `num` labels of `classes` classes (0: none), int32 [num]. real: labels of real images, for `data`."""
    real = np.zeros(0, np.int32) if real is None else real
    rng = np.random.default_rng(seed)
    return choose(LABELINGS, "labels", how)(rng, num, max(classes, 1), real).astype(np.int32)
