"""Data: sources by name, and each step's batch as a pure function of the step."""

import dataclasses

from ml_collections import ConfigDict

from biggan_jax import growth
from biggan_jax.config import choose, refuse_unresolved
from biggan_jax.data import balance, builtin, captions, domains, stats
from biggan_jax.data.dataset import Source, has_clips, image_shape, joins_domains
from biggan_jax.data.facts import facts_of
from biggan_jax.data.identity import digest_of
from biggan_jax.data.loader import HostBatches, read_ahead
from biggan_jax.data.stats import before_training
from biggan_jax.data.stats import store as store_summary
from biggan_jax.data.tfds import open_tfds
from biggan_jax.types import UserError

__all__ = [
    "SOURCES",
    "Source",
    "before_training",
    "check_changes",
    "digest_of",
    "facts_of",
    "has_clips",
    "host_batches",
    "image_shape",
    "make_source",
    "open_tfds",
    "read_ahead",
    "store_summary",
]

SOURCES = {
    "mnist5k": lambda config, split: builtin.mnist5k(*_square(config, split)),
    "digits": lambda config, split: builtin.digits(*_square(config, split)),
    "stacked_mnist": lambda config, split: builtin.stacked_mnist(*_square(config, split)),
    "gaussians8": lambda config, split: builtin.points("gaussians8", image_shape(config), split),
    "gaussians25": lambda config, split: builtin.points("gaussians25", image_shape(config), split),
    "swiss_roll": lambda config, split: builtin.points("swiss_roll", image_shape(config), split),
    "tfds": open_tfds,
    "digit_captions": lambda config, split: builtin.digit_captions(*_square(config, split), _length(config)),
    "digit_edges": lambda config, split: builtin.digit_edges(_pairs(config), split),
    "moving_digits": lambda config, split: builtin.moving_digits(*_clips(config), split),
    "fake": lambda config, split: _fake(config),
}
CLIPS = ("moving_digits", "tfds", "fake")
"""Those that may be clips."""


def _fake(config: ConfigDict) -> builtin.Images:
    if domains.has_two(config):
        model = config.model
        own = image_shape(config)[2]
        first = own if model.get("direction") == "BtoA" else model.get("input_channels", own)
        return dataclasses.replace(builtin.fake(domains.source_shape(config, None, "fake"), 0), first=first)
    if length := captions.length_of(config):
        return builtin.fake_captions(image_shape(config), length)
    length = config.model.get("condition_dim", 0)
    return builtin.fake(image_shape(config), config.model.num_classes, condition_dim=length)


def _pairs(config: ConfigDict) -> tuple[int, ...]:
    domains.check_takes_pairs(config, f"data.name {config.data.name}")
    return domains.source_shape(config, None, config.data.name)


def _clips(config: ConfigDict) -> tuple[tuple[int, ...], int]:
    """Return the shape of a frame and the number of frames."""
    if not has_clips(config):
        what = f"clips, and model.family {config.model.family} learns from single images"
        raise UserError(f"data.name {config.data.name} has {what}; use model.family=vgan")
    return tuple(config.model.image_shape), config.model.frames


def _length(config: ConfigDict) -> int:
    if not captions.takes_conditions_of_images(config):
        raise UserError("data.name digit_captions has captions, for model.family text_to_image; use mnist5k or digits")
    return captions.length_of(config)


def _square(config: ConfigDict, split: str) -> tuple[int, str, int]:
    shape = tuple(config.model.image_shape) if joins_domains(config) else image_shape(config)
    if len(shape) != 3 or shape[0] != shape[1]:
        raise UserError(f"data.name {config.data.name} has square images, but this model's have the shape {shape}")
    return shape[0], split, shape[2]


def make_source(config: ConfigDict, split: str = "train") -> Source:
    """Open the `train` or the held-out `test` split of the config's data. Raises UserError if config and data do not fit."""
    refuse_unresolved(config)
    make = choose(SOURCES, "data.name", config.data.name)
    if has_clips(config) and config.data.name not in CLIPS:
        what = f"single images, and model.family {config.model.family} learns from clips"
        raise UserError(f"data.name {config.data.name} has {what}; use moving_digits, or biggan-prepare --from=clips")
    source = make(config, split)
    name, wanted, there = config.data.name, config.model.num_classes, source.num_classes
    _check_condition(config, getattr(source, "condition_dim", 0))
    if captions.length_of(config) and not captions.has_captions(source):
        hint = "prepare captions with biggan-prepare --from=captions, or use data.name=digit_captions"
        raise UserError(
            f"{stats.named(config)} has no captions, and model.family {config.model.family} needs some; {hint}"
        )
    if config.init_from and wanted not in (0, there):
        raise UserError(
            f"model.num_classes is {wanted}, but data.name {name} has {there} classes; with "
            f"--config.model.num_classes={there} the layers of classes are new, and all others are those of {config.init_from}"
        )
    if wanted not in (0, there):
        raise UserError(
            f"model.num_classes is {wanted}, but data.name {name} has {there} classes; give that number, or 0 for a model without"
        )
    if joins_domains(config):
        return domains.SideBySide(source, tuple(config.model.image_shape)[:2])
    return source


def _check_condition(config: ConfigDict, there: int) -> None:
    """Raise UserError unless the data have a condition of the length that the model takes."""
    wanted = config.model.get("condition_dim", 0)
    if wanted == there:
        return
    has = f"data.name {config.data.name} has a condition of {there} numbers" if there else "the data have no condition"
    if not wanted and "condition_dim" not in config.model:
        raise UserError(f"{has}, but model.family {config.model.family} takes none; use cgan, dcgan or sngan")
    raise UserError(f"{has}, but model.condition_dim is {wanted}; give {there}, or prepare other data")


def check_changes(source: Source, config: ConfigDict) -> None:
    """Raise UserError if data.flip, data.crop, data.dequantize or data.balance cannot be applied to these data."""
    d, shape = config.data, image_shape(config)
    domains.of(source, config)
    if len(shape) < 3 and (d.flip or d.crop != "center"):
        raise UserError(f"data.flip and data.crop need images, but this model's data have shape {shape}; unset them")
    if d.dequantize and getattr(source, "dtype", None) == "uint16":
        raise UserError("data.dequantize adds noise below a level of 8 bits, but the data have 16; unset it")
    if d.balance:
        _by_class(source, config)


def host_batches(source: Source, config: ConfigDict, attempt: int, host: int = 0, hosts: int = 1) -> HostBatches:
    """Return the function from a step to this host's part of the step's real data. Raises UserError as `check_changes` does."""
    check_changes(source, config)
    c, d = config, config.data
    minibatches = c.d_steps + (c.g_real == "own")
    classes = _by_class(source, config) if d.balance else None
    fixed = HostBatches(
        source, c.seed, attempt, minibatches, c.batch_size, d.flip, d.crop, host, hosts, d.order, classes
    )
    drawn = config.model.captions if captions.takes_conditions_of_images(config) else 0
    return dataclasses.replace(fixed, growth=growth.of(config), domains=domains.of(source, config), captions=drawn)


def _by_class(source: Source, config: ConfigDict) -> balance.ByClass:
    """Return the images by class, for data.balance. Raises UserError without classes."""
    if not config.model.num_classes:
        raise UserError("data.balance=True draws classes evenly, but model.num_classes is 0; unset one of the two")
    return balance.by_class(source, stats.named(config))
