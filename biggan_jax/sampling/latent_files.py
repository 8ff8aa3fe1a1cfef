"""The .npz files of samples: arr_0, z, y and their truncation."""

import numpy as np
from etils import epath
from numpy.typing import ArrayLike

from biggan_jax.config import choose, some
from biggan_jax.family import Family
from biggan_jax.latents import KINDS, Stored
from biggan_jax.runtime.files import atomic_write, read_npz
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import UserError


def read_latents(path: epath.PathLike, gan: Family) -> tuple[np.ndarray, np.ndarray, Stored | None]:
    """Read z float32 [N, dim_z], y int32 [N] or float32 [N, num_classes or condition], and their truncation, if any.

    Raises UserError if arrays are missing or do not fit the model.
    """
    arrays = read_npz(path)
    if not arrays.keys() >= {"z", "y"}:
        raise UserError(f"{path} has the arrays {some(arrays)}; z and y are needed")
    z, y = arrays["z"], arrays["y"]
    if z.ndim != 2 or z.shape[1] != gan.dim_z or not len(z) or y.ndim == 0 or len(y) != len(z):
        raise UserError(f"{path}: z {list(z.shape)}, y {list(y.shape)}; this model takes z [N, {gan.dim_z}] and y [N]")
    if z.dtype.kind not in "fiu" or not np.isfinite(z).all():
        raise UserError(f"{path}: z has values that are not finite numbers")
    truncation = None
    if "truncation" in arrays:
        threshold, kind = arrays["truncation"], str(arrays.get("truncation_kind", "")) or None
        if threshold.shape or threshold.dtype.kind not in "fiu" or not 0 < threshold < np.inf:
            raise UserError(f"{path}: its truncation is not a finite number greater than 0")
        if kind is not None:
            choose(dict.fromkeys(KINDS), f"{path}: truncation_kind", kind)
        cutoff = arrays.get("truncation_cutoff", np.int64(0))
        if cutoff.shape or cutoff.dtype.kind not in "iu" or cutoff < 0:
            raise UserError(f"{path}: its truncation_cutoff is not a number of layers")
        truncation = float(threshold), kind, int(cutoff)
    if gan.condition.kind == "vector" and y.shape[1:] != (gan.condition.size,):
        raise UserError(f"{path}: y is {list(y.shape)}; this model takes conditions [N, {gan.condition.size}]")
    if y.ndim == 2 and y.shape[1] == gan.condition.size and y.dtype.kind in "fiu" and np.isfinite(y).all():
        return z.astype(np.float32), y.astype(np.float32), truncation
    last = max(gan.num_classes, 1) - 1
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() > last:
        raise UserError(f"{path}: y must be classes 0 to {last}, or mixtures [N, {gan.num_classes}]")
    return z.astype(np.float32), y.astype(np.int32), truncation


def write_samples(
    path: epath.Path,
    sampler: Sampler,
    z: np.ndarray,
    y: np.ndarray,
    *,
    floats: bool = False,
    bits: int = 8,
    batch_size: int = 64,
    seeds: np.ndarray | None = None,
) -> None:
    """Generate samples and write them as arr_0, with z, y, the truncation and, if given, the seed of each sample.

    arr_0 is uint8, with `bits` 16 uint16, or float32 in [-1, 1] if `floats`; vectors are always float32.
    """
    as_floats = floats or len(sampler.gan.image_shape) < 3
    samples = sampler.floats(z, y, batch_size) if as_floats else sampler.images(z, y, batch_size, bits)
    arrays = sample_arrays(sampler, samples, z, y)
    write_arrays(path, **arrays if seeds is None else arrays | {"seeds": seeds})


def sample_arrays(sampler: Sampler, samples: np.ndarray, z: np.ndarray, y: np.ndarray) -> dict[str, ArrayLike]:
    """Name the arrays of a file of samples."""
    arrays: dict[str, ArrayLike] = {"arr_0": samples, "z": z, "y": y}
    if sampler.truncation:
        arrays |= {"truncation": sampler.truncation.threshold, "truncation_kind": sampler.truncation.kind}
        arrays |= {"truncation_cutoff": sampler.truncation.cutoff} if sampler.truncation.cutoff else {}
    return arrays


def write_arrays(path: epath.Path, **arrays: ArrayLike) -> None:
    """Write an .npz atomically."""
    with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
