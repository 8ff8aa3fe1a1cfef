"""Owns what a data set is to the rest of the house: images by number. Must not know in which order they are wanted."""

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np


class Reading(NamedTuple):
    """Images that were asked for, in memory of their own, and what could not be read.

    images uint8 [N, H, W, 3]; labels int32 [N]; unreadable: a sentence for each record in whose place its successor stands.
    """

    images: np.ndarray
    labels: np.ndarray
    unreadable: tuple[str, ...] = ()


class Source(Protocol):
    """Images by number, from 0 to len - 1. May be sent to another process."""

    @property
    def num_classes(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, numbers: np.ndarray, across: np.ndarray) -> Reading:
        """The images of these numbers, int64 [N]; `across`, float [N]: where along its long edge each is cropped, 0 to 1."""
        ...


@dataclasses.dataclass(frozen=True)
class Images:
    """A source in memory: images uint8 [N, H, W, 3], square as they are, and labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.images)

    def read(self, numbers: np.ndarray, across: np.ndarray | None = None) -> Reading:
        return Reading(self.images[numbers], self.labels[numbers])
