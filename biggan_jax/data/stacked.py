"""Stacked MNIST: three digits in the channels of one image, which gives 1,000 modes (Metz et al. 2017)."""

import dataclasses

import numpy as np

from biggan_jax.data import builtin
from biggan_jax.data.dataset import Images, Reading
from biggan_jax.types import UserError

COUNT = {"train": 25_600, "test": 10_000}


@dataclasses.dataclass(frozen=True)
class Stacked:
    """Images whose red, green and blue channels are three digits. The label is their number, 100 red + 10 green + blue."""

    digits: Images
    count: int
    num_classes: int = 1000

    def __len__(self) -> int:
        return self.count

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray | None = None) -> Reading:
        picked = np.stack([np.random.default_rng(int(n)).integers(0, len(self.digits), 3) for n in numbers])
        images = self.digits.images[picked][..., 0]  # [N, 3, H, W]
        labels = self.digits.labels[picked] @ np.array([100, 10, 1])
        return Reading(np.moveaxis(images, 1, -1).copy(), labels.astype(np.int32))


def stacked_mnist(resolution: int, split: str, channels: int = 3) -> Stacked:
    """Return 25,600 images for `train`, 10,000 for `test`, of the digits of mnist5k's split. Raises UserError."""
    if channels != 3:
        raise UserError(f"data.name stacked_mnist has images of 3 channels, not of {channels}")
    return Stacked(builtin.mnist5k(resolution, split, 1), COUNT[split])
