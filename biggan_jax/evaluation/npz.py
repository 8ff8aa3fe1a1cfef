"""Read images and statistics for evaluation from .npz files of this project and of others."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data.dataset import Images
from biggan_jax.data.picture import to_8_bits
from biggan_jax.evaluation.formulas import Moments
from biggan_jax.runtime import files
from biggan_jax.sampling.pictures import to_uint8
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

IMAGES, LABELS, STATISTICS, SPATIAL = "arr_0", ("y", "arr_1"), ("mu", "sigma"), ("mu_s", "sigma_s")
OURS = "z", "truncation", "truncation_kind", "truncation_cutoff", "seeds", "loss", "psnr"
"""Arrays of our own files of samples that scores do not depend on."""

DIM = 64  # Images that nowhere reach this level are named.


class Contents(NamedTuple):
    """What an .npz holds. statistics: mu and sigma of the features of images and by a network that the file does not tell.

    ADM's files also have those of spatial features, mu_s and sigma_s.
    """

    images: Images | None
    statistics: tuple[Moments, ...]


def read_samples(path: epath.Path, flag: str) -> Images:
    """Read images, with labels if the file has them, else with 0 classes. flag: for messages. Raises UserError."""
    arrays = files.read_npz(path)
    if IMAGES not in arrays:
        raise UserError(f"{flag}={path} has the arrays {some(arrays)}; arr_0 is needed")
    _name_unused(arrays, {IMAGES, *LABELS, *OURS}, f"{flag}={path}")
    return _images(arrays, f"{flag}={path}")


def read_reference(path: epath.Path, flag: str) -> Contents:
    """Read images, statistics (mu, sigma), or both, as in the reference batches of ADM. flag: for messages. Raises UserError."""
    arrays, what = files.read_npz(path), f"{flag}={path}"
    has_statistics = any(name in arrays for name in STATISTICS)
    if IMAGES not in arrays and not has_statistics:
        raise UserError(f"{what} has the arrays {some(arrays)}; arr_0, or mu and sigma, are needed")
    _name_unused(arrays, {IMAGES, *LABELS, *STATISTICS, *SPATIAL, *OURS}, what)
    images = _images(arrays, what) if IMAGES in arrays else None
    pairs = [pair for pair in (STATISTICS, SPATIAL) if any(name in arrays for name in pair)]
    return Contents(images, tuple(_statistics(arrays, pair, what) for pair in pairs))


def _name_unused(arrays: dict[str, np.ndarray], known: set[str], what: str) -> None:
    if others := [name for name in arrays if name not in known]:
        logger.warning("%s: arrays that are not used: %s", what, some(others))


def _statistics(arrays: dict[str, np.ndarray], names: tuple[str, str], what: str) -> Moments:
    if missing := [name for name in names if name not in arrays]:
        raise UserError(f"{what} has no {missing[0]}; {' and '.join(names)} are needed together")
    # The file does not tell the number of images.
    return checked(Moments(0, *(arrays[name] for name in names)), what)


def checked(given: Moments, what: str) -> Moments:
    """Return statistics in float64, with a symmetric covariance. Raises UserError if they are no mean and covariance."""
    count, mean, covariance = given
    size = mean.shape[0] if mean.ndim == 1 else 0
    if not size or covariance.shape != (size, size) or {mean.dtype.kind, covariance.dtype.kind} != {"f"}:
        found = f"mu {mean.dtype} {list(mean.shape)}, sigma {covariance.dtype} {list(covariance.shape)}"
        raise UserError(f"{what}: {found}; floats [D] and [D, D] are needed")
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UserError(f"{what}: mu or sigma has values that are not finite")
    scale = np.abs(covariance).max()
    if (np.diag(covariance) < 0).any() or np.abs(covariance - covariance.T).max() > 1e-3 * scale:
        raise UserError(f"{what}: sigma is no covariance: it is not symmetric, or has a negative variance")
    return Moments(count, mean, (covariance + covariance.T) / 2)


def _images(arrays: dict[str, np.ndarray], what: str) -> Images:
    images = arrays[IMAGES]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        channels_first = images.ndim == 4 and images.shape[1] in (1, 3)
        hint = "; its channels are not last" if channels_first else ""
        found = f"{images.dtype} {list(images.shape)}"
        raise UserError(f"{what}: arr_0 is {found}{hint}; give uint8 [N, H, W, 3], or [N, H, W, 1] if grey")
    images = as_uint8(images, what)
    name = next((name for name in LABELS if name in arrays), "")
    if not name:
        return Images(images, np.zeros(len(images), np.int32), 0)
    labels = arrays[name]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        found = f"{labels.dtype} {list(labels.shape)}"
        logger.warning("%s: %s is %s, and no ids [%d], so the images have no labels", what, name, found, len(images))
        return Images(images, np.zeros(len(images), np.int32), 0)
    return Images(images, labels.astype(np.int32), int(labels.max()) + 1)


class _Range(NamedTuple):
    """A usual range of pixels: its name, which (low, high) show it clearly, and how it becomes uint8."""

    name: str
    fits: Callable[[float, float], bool]
    convert: Callable[[np.ndarray], np.ndarray]


_round = lambda images: images.round().astype(np.uint8)
_ranges = {
    "f": (
        _Range("[-1, 1]", lambda low, high: -1 <= low < 0 and high <= 1 and max(-low, high) > 0.5, to_uint8),
        _Range("[0, 1]", lambda low, high: 0 <= low < 0.5 < high <= 1, lambda images: _round(images * 255)),
        _Range("[0, 255]", lambda low, high: low >= 0 and 127 < high <= 255, _round),
    ),
    "u2": (_Range("[0, 65535]", lambda low, high: high > 32767, to_8_bits),),
    "iu": (
        _Range("[0, 255]", lambda low, high: low >= 0 and 127 < high <= 255, lambda images: images.astype(np.uint8)),
    ),
}
"""Ranges by type: floats, uint16, and other integers. A range is clear only if the values use more than half of it."""


def as_uint8(images: np.ndarray, what: str) -> np.ndarray:
    """Return images as uint8; others are converted, and a line says from which range. Raises UserError if that is not clear."""
    if images.dtype.kind not in "fiu":
        raise UserError(f"{what}: arr_0 is {images.dtype}; give uint8")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise UserError(f"{what}: arr_0 has values that are not finite numbers")
    low, high = float(images.min()), float(images.max())
    given = f"{what}: arr_0 is {images.dtype} from {low:g} to {high:g}"
    if images.dtype == np.uint8:
        if high == 1:
            raise UserError(f"{given}: images of [0, 1] were probably not multiplied by 255; give uint8 in [0, 255]")
        if high < DIM:
            logger.warning("%s, so all images are dark", given)
        return images
    kind = "f" if images.dtype.kind == "f" else "u2" if images.dtype == np.uint16 else "iu"
    for found in _ranges[kind]:
        if found.fits(low, high):
            logger.info("%s; it is read as %s and rounded to 8 bits", given, found.name)
            return found.convert(images)
    raise UserError(f"{given}, which is no clear range of pixels; give uint8, or floats that fill [-1, 1] or [0, 1]")
