"""Check the values of a config, each by itself and those that must fit each other."""

import math

import ml_collections

from biggan_jax.config import loading
from biggan_jax.config.defaults import table
from biggan_jax.config.families import SECTIONS
from biggan_jax.config.strict_json import family_of, merge_into
from biggan_jax.types import UserError


def validate(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for the first bad value. What only one package knows, such as names of losses, it checks itself."""
    plain = config.to_dict()
    family = family_of(plain, "the config")
    _check_family(family, plain)
    keys = table(family)
    found = merge_into(keys, plain, "the config")  # A config file can set values of any type.
    for name, key in keys.items():
        if name not in found:
            raise UserError(f"the config lacks the key {name}; start from biggan_jax.config.base({family!r})")
        key.check(found[name], name)
    if config.batch_size % config.microbatches:
        raise UserError(
            f"batch_size {config.batch_size} cannot be split in {config.microbatches} microbatches of equal size"
        )
    part = config.batch_size // config.microbatches
    if part % config.d_chunks:
        near = max(n for n in range(1, min(config.d_chunks, part + 1)) if part % n == 0)
        what = f"batch_size {part}" if config.microbatches == 1 else f"a microbatch of {part} images"
        raise UserError(f"{what} cannot be split in d_chunks={config.d_chunks} of equal size; d_chunks={near} can")
    if config.score.every % config.checkpoint_every:
        near = max(round(config.score.every / config.checkpoint_every), 1) * config.checkpoint_every
        raise UserError(
            f"score.every {config.score.every} is no multiple of checkpoint_every {config.checkpoint_every}, and only a "
            f"saved step can be kept as the best; {near} is"
        )
    expected_scores(config)
    profile_range(config)


def _check_family(family: str, plain: dict) -> None:
    """Raise UserError if the config has exactly the keys of another family, as after --config.model.family=OTHER."""
    own = plain["model"].keys() - {"family"} if isinstance(plain.get("model"), dict) else set()
    others = [other for other, section in SECTIONS.items() if own == section().keys()]
    if others and family not in others:
        presets = [f"--config={name}" for name in loading.presets_of(family)[:3]]
        start = f"a preset of that family, {' or '.join(presets)}" if presets else f"base({family!r}) in a config file"
        raise UserError(f"model.family is {family!r}, but the config has the keys of {others[0]!r}; start from {start}")


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
