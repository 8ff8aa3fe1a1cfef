"""Owns data: sources by name, and the batch of each round as a pure function of the step. Must not know networks."""

from collections.abc import Callable

import ml_collections
import numpy as np

from biggan_jax.config import choose
from biggan_jax.data import embedded, fake, order, tfds
from biggan_jax.data.source import Source
from biggan_jax.types import UserError

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


def host_batch(
    source: Source, config: ml_collections.ConfigDict, step: int, attempt: int, host: int = 0, hosts: int = 1
) -> dict[str, np.ndarray]:
    """This host's part of the real data of the round at `step`: image uint8 [d_steps, B / hosts, H, W, 3], label int32.

    The global batch is the same on any number of hosts.
    """
    count = config.d_steps * config.batch_size
    position = config.seed, attempt, step * count, count
    size = config.batch_size // hosts
    mine = lambda positions: positions.reshape(config.d_steps, config.batch_size)[:, host * size : (host + 1) * size]
    images, labels = source[mine(order.indices(len(source), *position))]
    if config.data.flip:
        images = np.where(mine(order.mirrored(*position))[..., None, None, None], images[..., ::-1, :], images)
    return {"image": images, "label": labels}
