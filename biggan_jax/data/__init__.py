"""Owns data: sources by name, and the batch of each round as a pure function of the step. Must not know networks."""

from collections.abc import Callable

import ml_collections

from biggan_jax.config import choose
from biggan_jax.data import builtin, fake, tfds
from biggan_jax.data.dataset import Source
from biggan_jax.data.loader import HostBatches, read_ahead
from biggan_jax.data.stats import before_training
from biggan_jax.data.tfds import open_tfds
from biggan_jax.types import UserError

__all__ = ["SOURCES", "before_training", "host_batches", "make_source", "open_tfds", "read_ahead"]

SOURCES: dict[str, Callable[[ml_collections.ConfigDict, str], Source]] = {
    "mnist5k": lambda config, split: builtin.mnist5k(config.model.resolution, split),
    "digits": lambda config, split: builtin.digits(config.model.resolution, split),
    "tfds": tfds.open_tfds,
    "fake": lambda config, split: fake.images(config.model.resolution, config.model.num_classes),
}


def make_source(config: ml_collections.ConfigDict, split: str = "train") -> Source:
    """The images that `config` trains on, or those that it holds out (`test`). Raises UserError if it cannot."""
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
    """The function from a step to this host's part of the real data of its round."""
    c = config
    return HostBatches(source, c.seed, attempt, c.d_steps, c.batch_size, c.data.flip, c.data.crop, host, hosts)
