"""Owns what a data set is to the rest of the house: images by number. Must not know in which order they are wanted."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Source:
    """images uint8 [N, H, W, 3] and labels int32 [N], in memory."""

    images: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.images[indices], self.labels[indices]
