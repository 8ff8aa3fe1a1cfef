"""Open what samples and real images may be: files of arrays, folders of pictures, prepared sets, statistics of features."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.data import tfds
from biggan_jax.data.dataset import Images, Source, has_clips
from biggan_jax.evaluation import folders, npz, stylegan_statistics
from biggan_jax.evaluation.folders import Pictures
from biggan_jax.evaluation.formulas import Moments
from biggan_jax.flags.choices import FORMS
from biggan_jax.runtime.files import atomic_write
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


class Set(NamedTuple):
    """images: a source, or None. statistics: of features of networks that the file does not tell. name: for protocols."""

    images: Source | None
    statistics: tuple[Moments, ...]
    name: str


def open_samples(path: epath.Path, flag: str, max_broken: int | None) -> Source:
    """Open images to evaluate. flag: for messages. max_broken: see `folders.open_folder`. Raises UserError."""
    if path.suffix == ".npz":
        return npz.read_samples(path, flag)
    if path.suffix == ".pkl":
        raise UserError(f"{flag}={path} is a file of statistics; samples are {FORMS}")
    if is_prepared(path):
        config = prepared_config(path)
        config.model.image_shape = data.facts_of(config).shape
        logger.info("%s=%s: a prepared set, read at %s pixels", flag, path, pixels(config.model.image_shape))
        return data.open_tfds(config, "train")
    _check_folder(path, flag)
    return folders.open_folder(path, flag, max_broken)


def open_reference(path: epath.Path, flag: str, image_shape: tuple[int, ...], config, max_broken: int | None) -> Set:
    """Open real images or their statistics.

    image_shape: of the samples, to whose size a prepared set is cropped and resized. config: of the model, or None.
    """
    if path.suffix == ".npz":
        found = npz.read_reference(path, flag)
        return Set(found.images, found.statistics, path.name)
    if path.suffix == ".pkl":
        known = stylegan_statistics.read(path, flag)
        return Set(None, tuple(npz.checked(one, f"{flag}={path}") for one in known), path.name)
    if not is_prepared(path):
        _check_folder(path, flag)
        return Set(folders.open_folder(path, flag, max_broken), (), path.name)
    config = prepared_config(path, config)
    if not has_clips(config):
        config.model.image_shape = image_shape[:2] + data.image_shape(config)[2:]
    source = data.open_tfds(config, "train")
    return Set(source, (), f"{path.name} train, {pixels(image_shape)} px, resized by {config.data.resize}")


def is_prepared(path: epath.Path) -> bool:
    """Return whether the path is a folder of a prepared set."""
    return (path / tfds.INFO).exists()


def prepared_config(path: epath.Path, config=None):
    """Return a config whose data are the prepared set in this folder, without classes. config: for other settings of data."""
    found = configs.base() if config is None else config.copy_and_resolve_references()
    found.unlock()
    found.data.name, found.data.dataset, found.data.dir = "tfds", "", str(path)
    found.data.image_key = found.data.label_key = found.data.condition_key = ""
    found.model.num_classes = 0  # The set may have no labels.
    if config is None:
        found.data.resize = data.facts_of(found).resize
    return found


def _check_folder(path: epath.Path, flag: str) -> None:
    if not path.exists():
        raise UserError(f"{flag}={path} does not exist; give {FORMS}")
    if not path.is_dir():
        raise UserError(f"{flag}={path} is neither an .npz nor a folder; give {FORMS}")


def write_statistics(path: epath.Path, statistics: Moments) -> None:
    """Write mu and sigma, float64 [D] and [D, D], as pytorch-fid and clean-fid do. Raises UserError."""
    try:
        with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, mu=statistics.mean, sigma=statistics.covariance)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def of_dimension(statistics: Sequence[Moments], features: int) -> Moments | None:
    """Return the statistics of features of this length, or None."""
    return next((one for one in statistics if len(one.mean) == features), None)


def shape_of(source: Source, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a source's images; for sources that do not tell it, `otherwise`."""
    if isinstance(source, Images):
        return source.images.shape[1:]
    if isinstance(source, Pictures):
        return source.image_shape
    return getattr(source, "shape", otherwise)


def pixels(image_shape: tuple[int, ...]) -> str:
    """Describe the size of an image: 128, or 128 x 96 (height first) if it is not square."""
    return " x ".join(dict.fromkeys(map(str, image_shape[:2])))
