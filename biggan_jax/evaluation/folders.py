"""Folders of pictures of any sizes, as sets to evaluate: listed, checked and hashed once."""

import concurrent.futures
import dataclasses
import functools
import logging
import os
from collections import Counter

import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data import picture, trees
from biggan_jax.data.dataset import Reading
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.data.records import digest
from biggan_jax.evaluation import cache
from biggan_jax.evaluation.resizers import Prepare
from biggan_jax.runtime.files import is_remote
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

MOST_BROKEN = 0.01  # A larger share of unreadable files is refused, unless a flag allows their number.


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """The readable pictures of a folder, as a source.

    paths: of the files. labels: int32 [N], the number of the first folder below the root, 0 without classes. shapes: int32
    [N, 2], height and width. content: a hash of all files and labels. broken: a sentence for each file that cannot be read.
    """

    root: str
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    shapes: np.ndarray
    content: str
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 without."""
        return len(self.class_names)

    @property
    def all_labels(self) -> np.ndarray:
        """Return the class of each picture, int32 [N]."""
        return self.labels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The most frequent shape (height, width, 3)."""
        ((shape, _),) = Counter(map(tuple, self.shapes.tolist())).most_common(1)
        return (*shape, 3)

    @property
    def one_shape(self) -> bool:
        """Whether all pictures have the same height and width."""
        return bool((self.shapes == self.shapes[0]).all())

    def read(
        self, numbers: np.ndarray, crop_offset: np.ndarray | None = None, prepare: Prepare | None = None
    ) -> Reading:
        """Read pictures, uint8 [N, H, W, 3] of one shape, or whatever `prepare` makes of each. crop_offset has no effect."""
        make = prepare or (lambda image: image)
        one = lambda number: make(self._decode(self.paths[number]))
        if prepare is None and not self.one_shape:
            raise UserError(f"{self.root} has pictures of several sizes, and this network takes those of one size only")
        return Reading(np.stack(list(pool().map(one, numbers.tolist()))), self.labels[numbers])

    def _decode(self, path: str) -> np.ndarray:
        try:
            return picture.decode((epath.Path(self.root) / path).read_bytes())
        except (OSError, picture.UnreadableError) as error:
            raise UserError(f"{self.root}/{path} changed while it was evaluated: {error}") from error


def is_folder_of_pictures(path: epath.Path) -> bool:
    """Return whether the path is a folder with a picture in it, at any depth."""
    return path.is_dir() and any(name.lower().endswith(PICTURES) for name in trees.of_folder(path).sizes)


def open_folder(path: epath.Path, flag: str, max_broken: int | None = None) -> Pictures:
    """List the pictures below a folder, and decode each once. flag: for messages.

    max_broken: unreadable files that are left out; more are refused. Default: a share of MOST_BROKEN, at least one.
    The first folders are classes if every picture is in one and there are two or more; a line says so. Raises UserError.
    """
    tree, what = trees.of_folder(path), f"{flag}={path}"
    paths = [name for name in tree.sizes if name.lower().endswith(PICTURES)]
    for name, why in tree.left_out.items():
        if why != trees.LOOP and (not name or name in tree.folders):
            raise UserError(
                f"{what}: the folder {name or path.name} cannot be read: {why}; allow it, or remove the folder"
            )
    if not paths:
        raise UserError(f"{what} has no pictures ({', '.join(PICTURES)})")
    arrays = cache.cached("pictures", _made_of(path, paths, tree.sizes), lambda: _check(path, paths))
    readable = arrays["shapes"][:, 0] > 0
    broken = [f"{name}: {why}" for name, why in tree.left_out.items() if name.lower().endswith(PICTURES)]
    broken += [f"{name}: {why}" for name, why in zip(_at(paths, ~readable), _reasons(arrays), strict=True)]
    allowed = max(1, int(MOST_BROKEN * len(paths))) if max_broken is None else max_broken
    if len(broken) > allowed or not readable.any():
        raise UserError(
            f"{what}: {len(broken):,} of {len(paths):,} pictures cannot be read, such as {broken[0]}; "
            f"up to {allowed:,} are left out; remove them, or give --max_broken={len(broken)}"
        )
    for sentence in broken:
        logger.warning("%s: left out: %s", what, sentence)
    kept, shapes = _at(paths, readable), arrays["shapes"][readable]
    names = _classes(kept)
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[name.partition("/")[0]] if names else 0 for name in kept], np.int32)
    content = cache.hash_of_arrays({"files": arrays["digests"][readable], "labels": labels, "shapes": shapes})
    found = Pictures(str(path), tuple(kept), labels, names, shapes, content, tuple(broken))
    _say(found, what, int(arrays["alpha"].sum()))
    return found


def _say(found: Pictures, what: str, alpha: int) -> None:
    """Log what was assumed of the set."""
    sizes = Counter(f"{width}x{height}" for height, width in found.shapes.tolist())
    listed = some([f"{count:,} of {size}" for size, count in sizes.most_common()])
    logger.info(
        "%s: %s pictures, %s", what, f"{len(found):,}", f"all {next(iter(sizes))}" if len(sizes) == 1 else listed
    )
    if found.broken:
        logger.warning("%s: %s unreadable pictures are left out", what, f"{len(found.broken):,}")
    if found.num_classes:
        logger.info("%s: classes are its %d first folders, %s", what, found.num_classes, some(found.class_names))
    if alpha:
        logger.warning("%s: %s pictures have transparency; they are composited on white", what, f"{alpha:,}")


def _classes(paths: list[str]) -> tuple[str, ...]:
    """Return the names of the first folders if these can be classes: not if a picture is in none, or if they are blocks."""
    tops = sorted({path.partition("/")[0] if "/" in path else "" for path in paths})
    blocks = all(len(top) > 3 and top.isdecimal() for top in tops)  # As StyleGAN numbers its folders: 00000, 00001, ...
    return () if len(tops) < 2 or "" in tops or blocks else tuple(tops)


def _made_of(path: epath.Path, paths: list[str], sizes) -> str:
    """Return the key of a folder's listing: a file that is changed has another size or time."""
    # A time of epath is in whole seconds.
    time = lambda file: file.stat().mtime if is_remote(file) else os.stat(file).st_mtime_ns
    lines = [f"{name} {sizes[name]} {time(path / name)}" for name in paths]
    return f"recipe 1: {path}\n" + "\n".join(lines)


def _check(path: epath.Path, paths: list[str]) -> dict[str, np.ndarray]:
    """Read and decode each file: its digest, height and width (0: unreadable), transparency, and why it is unreadable."""

    def one(name: str) -> tuple[int, tuple[int, int], bool, str]:
        try:
            encoded = (path / name).read_bytes()
            with picture.opened(encoded) as image:
                alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            return digest(encoded), picture.decode(encoded).shape[:2], alpha, ""
        except picture.UnreadableError as error:
            return 0, (0, 0), False, str(error)
        except OSError as error:
            return 0, (0, 0), False, error.strerror or str(error)

    rows: list[tuple] = []
    for start in track(range(0, len(paths), 256), "checking pictures, by 256"):
        rows += pool().map(one, paths[start : start + 256])
    digests, shapes, alpha, why = zip(*rows, strict=True)
    text = "\n".join(reason for (height, _), reason in zip(shapes, why, strict=True) if not height)
    return {
        "digests": np.array(digests, np.uint64),
        "shapes": np.array(shapes, np.int32),
        "alpha": np.array(alpha),
        "why": np.frombuffer(text.encode(), np.uint8),
    }


def _reasons(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return why each unreadable file cannot be read."""
    unreadable = (arrays["shapes"][:, 0] == 0).any()
    return arrays["why"].tobytes().decode().split("\n") if unreadable else []


def _at(paths: list[str], chosen: np.ndarray) -> list[str]:
    return [path for path, wanted in zip(paths, chosen, strict=True) if wanted]


@functools.cache
def pool() -> concurrent.futures.ThreadPoolExecutor:
    """Return the threads that decode and resize pictures; decoders release the GIL."""
    return concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
