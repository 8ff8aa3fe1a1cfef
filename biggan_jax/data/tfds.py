"""Owns reading image-classification sets that TFDS prepared as ArrayRecord, without TensorFlow. Must not know training."""

import concurrent.futures
import dataclasses
import functools
from typing import Any

import cv2
import ml_collections
import numpy as np

from biggan_jax.types import UserError


def open_tfds(config: ml_collections.ConfigDict, split: str) -> "TfdsSource":
    """The TFDS builder `data.dataset` in `data.dir`, images cropped and resized to `model.resolution`.

    `split` is train, or test: whatever that builder holds out (test or validation).
    """
    import tensorflow_datasets as tfds

    name, folder = config.data.dataset, config.data.dir or None
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not builder.data_path.exists():
            raise FileNotFoundError("nothing is prepared there")
        if split == "test" and "test" not in builder.info.splits:
            split = "validation"
        records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        num_classes = builder.info.features["label"].num_classes
    except Exception as error:  # What goes wrong here has no common type: not known, not prepared, not ArrayRecord.
        what = " ".join(str(error).split())[:200]
        raise UserError(
            f"data.dataset {name!r} cannot be read from data.dir {folder or '~/tensorflow_datasets'} ({what}); "
            "it must have been prepared there with file_format='array_record'"
        ) from error
    return TfdsSource(records, config.model.resolution, num_classes)


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """Images by number, decoded when they are asked for, in threads: the decoders release Python's lock."""

    records: Any
    resolution: int
    num_classes: int

    @functools.cached_property
    def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        records = self.records.__getitems__(indices.ravel().tolist())
        images = np.stack(list(self._threads.map(lambda r: decode(r["image"], self.resolution), records)))
        labels = np.array([r["label"] for r in records], np.int32)
        return images.reshape(*indices.shape, *images.shape[1:]), labels.reshape(indices.shape)


def decode(encoded: bytes, resolution: int) -> np.ndarray:
    """An encoded picture, cropped to its central square and resized by areas: uint8 [resolution, resolution, 3].

    Brock et al. 2019, App. C: ImageNet is cropped along the long edge and resized by area.
    """
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    h, w, _ = image.shape
    size = min(h, w)
    top, left = (h - size) // 2, (w - size) // 2
    square = image[top : top + size, left : left + size]
    # Averaging areas is how to shrink; to enlarge, it would only repeat pixels.
    how = cv2.INTER_AREA if size >= resolution else cv2.INTER_CUBIC
    return cv2.resize(square, (resolution, resolution), interpolation=how)
