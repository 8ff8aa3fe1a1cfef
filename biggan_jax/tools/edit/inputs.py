"""Read labels, directions and pictures from files."""

import numpy as np
from etils import epath

from biggan_jax.data import picture
from biggan_jax.family import Family
from biggan_jax.runtime.files import read_npz
from biggan_jax.types import UserError


def row_of(name: str) -> tuple[str, int]:
    """Split FILE.npz:ROW into file and row; the row defaults to 0."""
    path, _, row = name.rpartition(":")
    return (path, int(row)) if path and row.isdecimal() else (name, 0)


def read_scores(path: str, count: int) -> np.ndarray:
    """Read one number per sample, float [count]: the array `labels` of an .npz, or the last column of a .csv or .txt.

    A first line without a number at its end is a header. Raises UserError for another count, or values that are not numbers.
    """
    try:
        if epath.Path(path).suffix == ".npz":
            scores = read_npz(path)["labels"].astype(np.float64)
        else:
            last = [line.split(",")[-1].strip() for line in epath.Path(path).read_text().splitlines() if line.strip()]
            scores = np.array(last[1:] if last and not _is_number(last[0]) else last, np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is neither an .npz with an array `labels` nor text with a number a line: {error}"
        ) from error
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise UserError(
            f"{path} must have a finite number for each of {count} samples; its shape is {list(scores.shape)}"
        )
    return scores


def read_direction(path: str, gan: Family) -> tuple[np.ndarray, str]:
    """Read a direction [dim_z], normalised to norm one, and the name of its attribute, or ""."""
    try:
        arrays = read_npz(path)
        vector, attribute = arrays["direction"].astype(np.float32), str(arrays.get("attribute", ""))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not an .npz with an array `direction`: {error}") from error
    length = np.linalg.norm(vector)
    if vector.shape != (gan.dim_z,) or not np.isfinite(length) or not length:
        raise UserError(
            f"{path}: direction {list(vector.shape)} must be [{gan.dim_z}] for this model, finite and not 0"
        )
    return vector / length, attribute


def read_picture(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read an image file, cropped to the centre and resized to (height, width, 1 or 3), uint8."""
    try:
        pixels = picture.decode(epath.Path(path).read_bytes(), upright=True)
    except (OSError, picture.UnreadableError) as error:
        raise UserError(f"--picture={path} cannot be read: {error}") from error
    pixels = picture.resize(picture.crop(pixels, shape), shape, "area")
    return picture.to_gray(pixels) if shape[2] == 1 else pixels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
