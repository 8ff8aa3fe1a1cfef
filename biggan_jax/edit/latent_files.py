"""Owns the files that latents, labels and directions come from and go to. Must not know what is done with them."""

import zipfile

import numpy as np
from etils import epath

from biggan_jax.files import whole
from biggan_jax.gan import GAN
from biggan_jax.sampler import Sampler
from biggan_jax.types import UserError

UNREADABLE = (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile)


def read_latents(path: str, gan: GAN) -> tuple[np.ndarray, np.ndarray, tuple[float, str | None] | None]:
    """z [N, dim_z], y int [N] or [N, num_classes] as `sample` writes them, and their truncation, if the file says one.

    Raises UserError if they are not there, or not of this model.
    """
    arrays = _arrays(path)
    try:
        z, y = arrays["z"].astype(np.float32), arrays["y"]
        truncation = None
        if "truncation" in arrays:
            truncation = float(arrays["truncation"]), str(arrays.get("truncation_kind", "")) or None
    except UNREADABLE as error:
        raise UserError(f"{path} is not an .npz with arrays z and y: {error}") from error
    if z.ndim != 2 or z.shape[1] != gan.dim_z or not len(z) or y.ndim == 0 or len(y) != len(z):
        raise UserError(
            f"{path}: z {list(z.shape)} and y {list(y.shape)}; this model takes z [N, {gan.dim_z}] and y [N]"
        )
    if not np.isfinite(z).all():
        raise UserError(f"{path}: z holds values that are not finite")
    if y.ndim == 2 and y.shape[1] == gan.num_classes:
        return z, y.astype(np.float32), truncation
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= max(gan.num_classes, 1):
        raise UserError(
            f"{path}: y must be classes 0 to {max(gan.num_classes, 1) - 1}, or mixtures [N, {gan.num_classes}]"
        )
    return z, y.astype(np.int32), truncation


def write_samples(path: epath.Path, sampler: Sampler, z: np.ndarray, y: np.ndarray, **also: np.ndarray) -> None:
    """An .npz of images (arr_0), z, y and the truncation, as `sample` writes it and reads it back, and what else there is."""
    if sampler.truncation:
        also |= {"truncation": sampler.truncation.threshold, "truncation_kind": sampler.truncation.kind}
    write_arrays(path, arr_0=sampler.images(z, y), z=z, y=y, **also)


def write_arrays(path: epath.Path, **arrays: np.ndarray) -> None:
    with whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)


def row_of(name: str) -> tuple[str, int]:
    """FILE.npz:ROW as file and row; without :ROW it is the first."""
    path, _, row = name.rpartition(":")
    return (path, int(row)) if path and row.isdecimal() else (name, 0)


def read_scores(path: str, count: int) -> np.ndarray:
    """A number for each sample, float [count]: the array `labels` of an .npz, or the last column of a .csv or .txt.

    A first line that ends in no number is taken for a heading. Raises UserError if there are not as many, or not numbers.
    """
    try:
        if epath.Path(path).suffix == ".npz":
            scores = _arrays(path)["labels"].astype(np.float64)
        else:
            last = [line.split(",")[-1].strip() for line in epath.Path(path).read_text().splitlines() if line.strip()]
            scores = np.array(last[1:] if last and not _is_number(last[0]) else last, np.float64)
    except UNREADABLE as error:
        raise UserError(f"{path} is no .npz with an array `labels`, nor text with a number a line: {error}") from error
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise UserError(f"{path} must hold a finite number for each of {count} samples, but holds {list(scores.shape)}")
    return scores


def read_direction(path: str, gan: GAN) -> tuple[np.ndarray, str]:
    """The direction [dim_z], of length one, and its attribute: a name, or empty."""
    try:
        arrays = _arrays(path)
        vector, attribute = arrays["direction"].astype(np.float32), str(arrays.get("attribute", ""))
    except UNREADABLE as error:
        raise UserError(f"{path} is not an .npz with an array `direction`: {error}") from error
    length = np.linalg.norm(vector)
    if vector.shape != (gan.dim_z,) or not np.isfinite(length) or not length:
        raise UserError(
            f"{path}: direction {list(vector.shape)} must be [{gan.dim_z}] for this model, finite and not 0"
        )
    return vector / length, attribute


def _arrays(path: str) -> dict[str, np.ndarray]:
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except UNREADABLE as error:
        raise UserError(f"{path} is not an .npz: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
