"""Data: sources by name, and each step's batch as a pure function of the step."""

from collections.abc import Callable

import ml_collections

from biggan_jax.config import choose
from biggan_jax.data import builtin, fake, stacked, toys
from biggan_jax.data.dataset import Source, image_shape
from biggan_jax.data.loader import HostBatches, read_ahead
from biggan_jax.data.stats import before_training
from biggan_jax.data.tfds import open_tfds
from biggan_jax.types import UserError

__all__ = ["SOURCES", "before_training", "host_batches", "image_shape", "make_source", "open_tfds", "read_ahead"]


def _square(load: Callable[[int, str, int], Source]) -> Callable[[ml_collections.ConfigDict, str], Source]:
    """Adapt `load(resolution, split, channels)`."""

    def open_source(config: ml_collections.ConfigDict, split: str) -> Source:
        shape = image_shape(config)
        if len(shape) != 3 or shape[0] != shape[1]:
            raise UserError(f"data.name {config.data.name} has square images, but this model's have the shape {shape}")
        return load(shape[0], split, shape[2])

    return open_source


SOURCES: dict[str, Callable[[ml_collections.ConfigDict, str], Source]] = {
    "mnist5k": _square(builtin.mnist5k),
    "digits": _square(builtin.digits),
    "stacked_mnist": _square(stacked.stacked_mnist),
    "gaussians8": lambda config, split: toys.points("gaussians8", image_shape(config), split),
    "gaussians25": lambda config, split: toys.points("gaussians25", image_shape(config), split),
    "swiss_roll": lambda config, split: toys.points("swiss_roll", image_shape(config), split),
    "tfds": open_tfds,
    "fake": lambda config, split: fake.images(image_shape(config), config.model.num_classes),
}


def make_source(config: ml_collections.ConfigDict, split: str = "train") -> Source:
    """Open the `train` or the held-out `test` split of the config's data. Raises UserError if config and data do not fit."""
    source = choose(SOURCES, "data.name", config.data.name)(config, split)
    if config.init_from and config.model.num_classes != source.num_classes:
        raise UserError(
            f"the weights of {config.init_from} have {config.model.num_classes} classes, data.name {config.data.name} has "
            f"{source.num_classes}; change theirs first: python -m biggan_jax.convert --from=biggan-jax "
            f"--in={config.init_from} --out=NEW --classes=reinit:{source.num_classes}"
        )
    if config.model.num_classes not in (0, source.num_classes):
        raise UserError(
            f"model.num_classes is {config.model.num_classes}, but data.name {config.data.name} has "
            f"{source.num_classes} classes; give that number, or 0 for an unconditional model"
        )
    return source


def host_batches(
    source: Source, config: ml_collections.ConfigDict, attempt: int, host: int = 0, hosts: int = 1
) -> HostBatches:
    """Return the function from a step to this host's part of the step's real data."""
    c, shape = config, image_shape(config)
    if len(shape) < 3 and (c.data.flip or c.data.crop != "center"):
        raise UserError(
            f"data.flip and data.crop need images, and this model's data have the shape {shape}; unset them"
        )
    return HostBatches(
        source, c.seed, attempt, c.d_steps, c.batch_size, c.data.flip, c.data.crop, host, hosts, c.data.order
    )
