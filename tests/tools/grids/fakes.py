"""A fake sampler that records its calls and draws pictures that identify z and class."""

import dataclasses
import types

import numpy as np


@dataclasses.dataclass
class Sampler:
    """asked: z and y of each call of `images`."""

    truncation: object = None
    resolution: int = 16
    num_classes: int = 10
    asked: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        generator = types.SimpleNamespace(skip_z=True)
        self.gan = types.SimpleNamespace(
            dim_z=12,
            num_classes=self.num_classes,
            image_shape=(self.resolution, self.resolution, 3),
            networks={"G": types.SimpleNamespace(module=generator)},
            sampled="G",
        )

    def latents(self, num, seed=0):
        return np.random.default_rng(seed).standard_normal((num, self.gan.dim_z)).astype(np.float32)

    def images(self, z, y):
        self.asked.append((np.asarray(z), np.asarray(y)))
        return np.stack([np.full((4, 4, 3), picture_of(*one), np.uint8) for one in zip(z, y, strict=True)])


def picture_of(z, y):
    """Return a grey level that identifies z and class, up to chance."""
    return hash((np.asarray(z, np.float32).tobytes(), np.asarray(y).tobytes())) % 256


NAMES = [f"class {i}" for i in range(10)]
