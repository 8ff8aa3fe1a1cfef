"""A folder with one PNG file by image."""

from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath

from biggan_jax.runtime.files import atomic_write
from biggan_jax.sampling import pictures
from biggan_jax.types import UserError


def check_folder(out: epath.Path, seeds: np.ndarray | None) -> None:
    """Raise UserError if images of `out` could be overwritten, or mixed with those of another command."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out={out} exists and is no folder; give another")
    taken = sorted(path.name for path in out.iterdir())
    if seeds is not None:
        ours = {_seed(seed) for seed in seeds}
        taken = [name for name in taken if name.partition(".")[0].partition("_")[0] in ours]
    if taken:
        raise UserError(f"--out={out} has {taken[0]} already; give another folder")


def names_of(count: int, seeds: np.ndarray | None = None, y: np.ndarray | None = None) -> list[str]:
    """Name the files of `count` images: 00000.png, or seed0003.png, and its class or condition if a seed has several.

    seeds: int [count]. y: classes int [count], or conditions [count, k], in which a seed's are all different.
    """
    if seeds is None or y is None:
        return [f"{i:05d}.png" for i in range(count)]
    each = len(np.unique(seeds))
    if each == count:
        return [f"{_seed(seed)}.png" for seed in seeds]
    kinds = [f"class{label:04d}" for label in y] if y.ndim == 1 else [f"condition{i // each:04d}" for i in range(count)]
    return [f"{_seed(seed)}_{kind}.png" for seed, kind in zip(seeds, kinds, strict=True)]


def write_folder(out: epath.Path, names: Sequence[str], batches: Iterable[np.ndarray]) -> None:
    """Write images, uint8 or uint16 [B, H, W, 1 or 3] by batch, under these names."""
    out.mkdir(parents=True, exist_ok=True)
    images = (image for batch in batches for image in batch)
    for name, image in zip(names, images, strict=True):
        with atomic_write(out / name) as unfinished, open(unfinished, "wb") as file:
            file.write(pictures.png(image))


def _seed(seed: int) -> str:
    return f"seed{seed:04d}"
