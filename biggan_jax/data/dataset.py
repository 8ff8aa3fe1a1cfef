"""The interface of data sets: images by number, and a source in memory."""

import dataclasses
from typing import NamedTuple, Protocol

import ml_collections
import numpy as np


def image_shape(config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """Return the shape of one image of this model: (height, width, channels), or (length,) for vectors.

    Of a model that draws pairs of two domains: of both images side by side. Of clips: of all frames, below each other.
    """
    model = config.model
    if "image_shape" in model:
        shape = tuple(model.image_shape)
        if has_clips(config):
            return (model.frames * shape[0], *shape[1:])
        return (shape[0], 2 * shape[1], *shape[2:]) if joins_domains(config) else shape
    return model.resolution, model.resolution, model.get("channels", 3)


def has_clips(config: ml_collections.ConfigDict) -> bool:
    """Return whether the model learns from clips."""
    return "frames" in config.model


def joins_domains(config: ml_collections.ConfigDict) -> bool:
    """Return whether the model reads images of two domains and draws pairs of them, side by side."""
    return "load_size" in config.model and "input_channels" not in config.model


class Reading(NamedTuple):
    """Images read from a source, in memory of their own.

    images: uint8 or uint16 [N, H, W, C], or float32 [N, n] for vectors. labels: int32 [N]; conditions float32 [N, k], or
    several of each image [N, K, k]; or captions int32 [N, K, L], see data/captions.py. unreadable: a sentence for each record that
    could not be read and was replaced by the record after it.
    """

    images: np.ndarray
    labels: np.ndarray
    unreadable: tuple[str, ...] = ()


class Source(Protocol):
    """Images by number, 0 to len - 1. Picklable."""

    @property
    def num_classes(self) -> int: ...

    @property
    def all_labels(self) -> np.ndarray:
        """Return the class of each image, int32 [len]; -1: it cannot be read."""
        ...

    def __len__(self) -> int: ...

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray) -> Reading:
        """Read images. numbers: int64 [N]. crop_offset: float [N], position of each crop along the longer edge, 0 to 1."""
        ...


@dataclasses.dataclass(frozen=True)
class Images:
    """A source in memory: images uint8 or uint16 [N, H, W, C] or float32 [N, n], already cropped.

    labels: int32 [N], or conditions float32 [N, k], or captions int32 [N, K, L]. first: of pairs, the channels of the first picture;
    0: no pairs.
    """

    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    first: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def all_labels(self) -> np.ndarray:
        """Return the class of each image, int32 [N]."""
        return self.labels

    @property
    def condition_dim(self) -> int:
        """Length of each image's condition; 0: none."""
        return self.labels.shape[1] if self.labels.ndim == 2 else 0

    @property
    def caption_length(self) -> int:
        """Bytes of each image's captions; 0: there are none."""
        return self.labels.shape[2] if self.labels.ndim == 3 else 0

    @property
    def dtype(self) -> np.dtype:
        """Type of the images."""
        return self.images.dtype

    @property
    def channels(self) -> int:
        """Channels of an image; of a pair, of both pictures together."""
        return self.images.shape[-1]

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray | None = None) -> Reading:
        return Reading(self.images[numbers], self.labels[numbers])
