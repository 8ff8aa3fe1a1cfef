"""Owns data: sources by name, and the batch of each round as a pure function of the step. Must not know networks."""

from collections.abc import Callable

import ml_collections

from biggan_jax.config import choose
from biggan_jax.data import embedded, fake, tfds
from biggan_jax.data.check import before_training
from biggan_jax.data.rounds import HostRound, read_ahead
from biggan_jax.data.source import Source
from biggan_jax.data.tfds import open_tfds
from biggan_jax.types import UserError

__all__ = ["SOURCES", "before_training", "host_round", "make_source", "open_tfds", "read_ahead"]

SOURCES: dict[str, Callable[[ml_collections.ConfigDict, str], Source]] = {
    "mnist5k": lambda config, split: embedded.mnist5k(config.model.resolution, split),
    "digits": lambda config, split: embedded.digits(config.model.resolution, split),
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


def host_round(
    source: Source, config: ml_collections.ConfigDict, attempt: int, host: int = 0, hosts: int = 1
) -> HostRound:
    """The function from a step to this host's part of the real data of its round."""
    c = config
    return HostRound(source, c.seed, attempt, c.d_steps, c.batch_size, c.data.flip, c.data.crop, host, hosts)
