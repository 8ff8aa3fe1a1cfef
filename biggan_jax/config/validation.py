"""Check the values of a config, each by itself and those that must fit each other."""

import math

import ml_collections

from biggan_jax.config.defaults import table
from biggan_jax.config.loading import check_family, family_of, merge_into
from biggan_jax.config.own_data import unresolved
from biggan_jax.errors import UserError


def validate(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for the first bad value. What only one package knows, such as names of losses, it checks itself."""
    plain = config.to_dict()
    family = family_of(plain, "the config")
    check_family(family, plain)
    values = merge_into(table(family), plain, "the config")  # A config file can set values of any type.
    for name, key in table(family).items():
        if name not in values:
            raise UserError(f"the config lacks the key {name}; start from biggan_jax.config.base({family!r})")
        key.check(values[name], name)
    if not unresolved(config):
        _check_parts(config)
    score, every = config.score.every, config.checkpoint_every
    if score % every:
        near, why = max(round(score / every), 1) * every, "only a saved step can be kept as the best"
        set_it = f"set --config.score.every={near} too, or 0 for no scores"
        raise UserError(f"score.every {score} is no multiple of checkpoint_every {every}, and {why}; {set_it}")
    expected_scores(config)
    profile_range(config)


def _check_parts(config: ml_collections.ConfigDict) -> None:
    """Raise UserError if the batch cannot be split as the config says."""
    size, parts = config.batch_size, config.microbatches
    if size % parts:
        raise UserError(f"batch_size {size} cannot be split in {parts} microbatches of equal size")
    part = size // parts
    _check_groups(config.model.get("bn_group", 0), part, parts)
    if part % config.d_chunks:
        near = max(n for n in range(1, min(config.d_chunks, part + 1)) if part % n == 0)
        what = f"batch_size {part}" if parts == 1 else f"a microbatch of {part} images"
        raise UserError(f"{what} cannot be split in d_chunks={config.d_chunks} of equal size; d_chunks={near} can")


def _check_groups(group: int, part: int, parts: int) -> None:
    """Raise UserError if `part` images, of each of `parts` microbatches, are not whole groups of batch norm."""
    if group and part % group:
        near = max(n for n in range(1, min(group, part) + 1) if part % n == 0)
        what = f"batch_size {part}" if parts == 1 else f"a microbatch of {part} images"
        raise UserError(f"{what} cannot be split in model.bn_group={group}; model.bn_group={near} divides it")


def profile_range(config: ml_collections.ConfigDict) -> range:
    """Return the steps that profile_steps names, without the last; empty if it names none. Raises UserError."""
    if not config.profile_steps:
        return range(0)
    start, _, stop = config.profile_steps.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and max(len(start), len(stop)) < 10 and int(start) < int(stop)):
        raise UserError(f"profile_steps {config.profile_steps!r} is not START:STOP in steps, such as 100:105")
    return range(int(start), int(stop))


def expected_scores(config: ml_collections.ConfigDict) -> tuple[tuple[int, float], ...]:
    """Return stability.expected as (step, score) pairs in order of steps. Raises UserError.

    >>> from biggan_jax.config import base
    >>> config = base()
    >>> config.stability.expected = "600:200,300:600"
    >>> expected_scores(config)
    ((300, 600.0), (600, 200.0))
    """
    text = config.stability.expected
    try:
        pairs = [pair.split(":") for pair in text.split(",") if text]
        found = tuple(sorted((int(step), float(score)) for step, score in pairs))
        if not all(math.isfinite(score) for _, score in found):
            raise ValueError("a score is no number")
        return found
    except ValueError as error:
        raise UserError(f"stability.expected {text!r} is not STEP:SCORE,STEP:SCORE, such as 300:600,600:200") from error
