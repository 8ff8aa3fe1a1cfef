"""The .npz files of samples: arr_0, z or w, y, their truncation, and maps of noise."""

import dataclasses

import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from numpy.typing import ArrayLike

from biggan_jax.config import choose, some
from biggan_jax.family import Family
from biggan_jax.latents import KINDS, Stored, allowed
from biggan_jax.runtime.files import atomic_write, read_npz
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.styles import check, with_fixed_noise
from biggan_jax.types import UserError

NOISE = "noise/"
"""The names of maps of noise begin with it."""


def read_latents(
    path: epath.PathLike, gan: Family, *, takes_w: bool = False
) -> tuple[np.ndarray, np.ndarray, Stored | None]:
    """Read z float32 [N, dim_z], y int32 [N], float32 [N, num_classes or condition] or bytes of texts, and their truncation.

    takes_w: the file may have w [N, styles, dim_w] in place of z. Raises UserError if arrays are missing or do not fit the model.
    """
    arrays = read_npz(path)
    name, shape = "z", (gan.dim_z,)
    if "w" in arrays and "z" not in arrays:
        if not takes_w:
            raise UserError(f"{path} has w in place of z, and this command takes z")
        own = check(gan, f"{path}, a file of w,")
        name, shape = "w", (own.styles, own.dim_w)
    if not arrays.keys() >= {name, "y"}:
        raise UserError(f"{path} has the arrays {some(arrays)}; z and y are needed")
    z, y = arrays[name], arrays["y"]
    if z.shape[1:] != shape or not len(z) or y.ndim == 0 or len(y) != len(z):
        takes = f"{name} [N, {', '.join(map(str, shape))}] and y [N]"
        raise UserError(f"{path}: {name} {list(z.shape)}, y {list(y.shape)}; this model takes {takes}")
    if z.dtype.kind not in "fiu" or not np.isfinite(z).all():
        raise UserError(f"{path}: {name} has values that are not finite numbers")
    truncation = None
    if "truncation" in arrays:
        threshold, kind = arrays["truncation"], str(arrays.get("truncation_kind", "")) or None
        if kind is not None:
            choose(dict.fromkeys(KINDS), f"{path}: truncation_kind", kind)
        if threshold.shape or threshold.dtype.kind not in "fiu" or not allowed(float(threshold), kind or ""):
            raise UserError(f"{path}: its truncation is not a finite number greater than 0")
        cutoff = arrays.get("truncation_cutoff", np.int64(0))
        if cutoff.shape or cutoff.dtype.kind not in "iu" or cutoff < 0:
            raise UserError(f"{path}: its truncation_cutoff is not a number of layers")
        truncation = float(threshold), kind, int(cutoff)
    if gan.condition.kind == "text":
        size = gan.condition.size
        if y.shape[1:] != (size,) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() > 255:
            raise UserError(
                f"{path}: y is {y.dtype} {list(y.shape)}; this model takes bytes of texts, integers [N, {size}]"
            )
        return z.astype(np.float32), y.astype(np.int32), truncation
    if gan.condition.kind == "vector" and y.shape[1:] != (gan.condition.size,):
        raise UserError(f"{path}: y is {list(y.shape)}; this model takes conditions [N, {gan.condition.size}]")
    if y.ndim == 2 and y.shape[1] == gan.condition.size and y.dtype.kind in "fiu" and np.isfinite(y).all():
        return z.astype(np.float32), y.astype(np.float32), truncation
    last = max(gan.num_classes, 1) - 1
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() > last:
        raise UserError(f"{path}: y must be classes 0 to {last}, or mixtures [N, {gan.num_classes}]")
    return z.astype(np.float32), y.astype(np.int32), truncation


def read_noise(path: epath.PathLike, sampler: Sampler) -> Sampler:
    """Return the sampler with the maps of noise of a file, if it has any, as those of all images. Raises UserError."""
    found = {name.removeprefix(NOISE): array for name, array in read_npz(path).items() if name.startswith(NOISE)}
    if not found:
        return sampler
    own = flatten_dict(sampler.variables.get("noise", {}), sep="/")
    shapes = lambda maps: {name: np.shape(array) for name, array in maps.items()}
    if shapes(found) != shapes(own):
        raise UserError(f"{path}: its maps of noise are not of this model's shapes")
    maps = {name: array.astype(np.float32) for name, array in found.items()}
    variables = {**sampler.variables, "noise": unflatten_dict(maps, sep="/")}
    return with_fixed_noise(dataclasses.replace(sampler, variables=variables))


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
    """Name the arrays of a file of samples; of clips, arr_0 is [N, T, H, W, C]."""
    if sampler.gan.frames:
        samples = pictures.frames_of(samples, sampler.gan.frames)
    arrays: dict[str, ArrayLike] = {"arr_0": samples, "z" if z.ndim == 2 else "w": z, "y": y}
    if sampler.truncation:
        arrays |= {"truncation": sampler.truncation.threshold, "truncation_kind": sampler.truncation.kind}
        arrays |= {"truncation_cutoff": sampler.truncation.cutoff} if sampler.truncation.cutoff else {}
    return arrays


def write_arrays(path: epath.Path, **arrays: ArrayLike) -> None:
    """Write an .npz atomically."""
    with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
