"""Owns which values make sense by themselves. Must not know what else a room asks of them."""

import difflib
import math

import ml_collections

from biggan_jax.config import strict_json
from biggan_jax.config.defaults import base
from biggan_jax.config.text import flatten
from biggan_jax.types import UserError


def choose(table: dict, key: str, name: str):
    """table[name], or a UserError that names the config key and the nearest known names."""
    if name not in table:
        near = difflib.get_close_matches(str(name), [str(n) for n in table], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{key} {name!r} is unknown; {hint}known are {', '.join(str(n) for n in table)}")
    return table[name]


POSITIVE = (
    "num_steps",
    "batch_size",
    "d_steps",
    "microbatches",
    "d_chunks",
    "log_every",
    "checkpoint_every",
    "checkpoint_keep",
    "model.ch",
    "model.dim_z",
    "model.shared_dim",
    "model.depth",
    "model.bn_eps",
    "model.spectral_eps",
    "model.spectral_iterations",
    "optimizer.g_lr",
    "optimizer.d_lr",
    "optimizer.eps",
    "regularizer.ortho_factor",
    "stability.rollback_d_lr",
    "stability.nonfinite_limit",
    "score.num",
)
NOT_NEGATIVE = (
    "seed",
    "sample_every",
    "checkpoint_keep_every",
    "ema.start",
    "model.num_classes",
    "model.g_ch",
    "model.d_ch",
    "model.bn_out_eps",
    "regularizer.g_ortho",
    "regularizer.d_ortho",
    "regularizer.r1",
    "data.workers",
    "data.threads",
    "data.unreadable_limit",
    "stability.every",
    "stability.rollbacks",
    "stability.rollback_d_steps",
    "score.every",
)
ONE_OF = {
    "dtype": ("float32", "bfloat16"),
    "remat": ("none", "blocks", "full"),
    "spectral_advance": ("update", "microbatch"),
    "model.spectral_eval": ("step", "stored"),
    "stability.on_collapse": ("stop", "rollback", "ignore"),
    "data.crop": ("center", "random"),
    "data.order": ("grain", "feistel"),
    "data.resize": ("area", "bilinear", "bicubic", "lanczos"),
}
MOST = {
    "d_steps": 1000,
    "model.num_classes": 2**24,
    "model.ch": 2**12,
    "model.g_ch": 2**12,
    "model.d_ch": 2**12,
    "model.dim_z": 2**16,
    "model.shared_dim": 2**16,
    "model.depth": 64,
    "model.spectral_iterations": 1000,
}
"""Beyond these, shapes are more than jax can say, or a program is more than can be traced."""
SHARES = ("ema.decay", "model.bn_momentum", "optimizer.b1", "optimizer.b2")


def validate(config: ml_collections.ConfigDict) -> None:
    """Raises UserError for the first value that makes no sense by itself; rooms check what only they know."""
    strict_json.merge_into(
        flatten(base().to_dict()), config.to_dict(), "the config"
    )  # A config file may have any types.
    for key in POSITIVE:
        if not config[key] > 0:
            raise UserError(f"{key} is {config[key]}; it must be greater than 0")
    for key in NOT_NEGATIVE:
        if not config[key] >= 0:
            raise UserError(f"{key} is {config[key]}; it must not be negative")
    for key in SHARES:
        if not 0 <= config[key] < 1:
            raise UserError(f"{key} is {config[key]}; it must be at least 0 and less than 1")
    for key, value in flatten(config.to_dict()).items():
        if type(value) is int and value >= 2**31:
            raise UserError(f"{key} is {value}; it must be less than 2**31")
        if key in MOST and value > MOST[key]:
            raise UserError(f"{key} is {value}; it must be at most {MOST[key]}")
    for key, values in ONE_OF.items():
        choose(dict.fromkeys(values), key, config[key])
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
            f"score.every {config.score.every} is no multiple of checkpoint_every {config.checkpoint_every}, and what is not "
            f"saved cannot be kept as the best; {near} is"
        )
    expected_scores(config)
    profile_range(config)


def profile_range(config: ml_collections.ConfigDict) -> range:
    """The rounds that profile_steps names, the last excluded; empty if none."""
    if not config.profile_steps:
        return range(0)
    start, _, stop = config.profile_steps.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and max(len(start), len(stop)) < 10 and int(start) < int(stop)):
        raise UserError(f"profile_steps {config.profile_steps!r} is not START:STOP in rounds, such as 100:105")
    return range(int(start), int(stop))


def expected_scores(config: ml_collections.ConfigDict) -> tuple[tuple[int, float], ...]:
    """stability.expected as (round, score) pairs, in order of rounds. Raises UserError.

    >>> config = base()
    >>> config.stability.expected = "600:200,300:600"
    >>> expected_scores(config)
    ((300, 600.0), (600, 200.0))
    """
    text = config.stability.expected
    try:
        pairs = [pair.split(":") for pair in text.split(",") if text]
        found = tuple(sorted((int(round_), float(score)) for round_, score in pairs))
        if not all(math.isfinite(score) for _, score in found):
            raise ValueError("a score is no number")
        return found
    except ValueError as error:
        raise UserError(
            f"stability.expected {text!r} is not ROUND:SCORE,ROUND:SCORE, such as 300:600,600:200"
        ) from error
