"""From the sections `augment` and `schedule` of a config to a GAN's augmentation."""

from typing import Any

import ml_collections

from biggan_jax import schedules
from biggan_jax.augment import GROUPS, POLICIES, Ada, Probability
from biggan_jax.config import choose
from biggan_jax.types import UserError


def from_config(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the fields of a GAN that describe augmentation. Raises UserError."""
    own, strengths = config.augment, groups(config)
    return {
        "augment_policy": policy(config),
        "ada": Ada(strengths) if strengths else None,
        "apa": own.apa,
        "augment_p": probability(config) if strengths or own.apa else None,
    }


def policy(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Return the names in augment.policy. The command line passes a,b as one entry, which is split here."""
    names = _entries(config.augment.policy)
    for name in names:
        choose(POLICIES, "augment.policy", name)
    return names


def groups(config: ml_collections.ConfigDict) -> tuple[tuple[str, float], ...]:
    """Return ADA's groups, each with the factor of its probability: blit, colour:0.5."""
    found = {}
    for entry in _entries(config.augment.ada):
        name, colon, factor = entry.partition(":")
        choose(dict.fromkeys(GROUPS), "augment.ada", name)
        try:
            found[name] = float(factor) if colon else 1.0
        except ValueError:
            found[name] = -1.0
        if not 0 < found[name] <= 1:
            raise UserError(
                f"augment.ada {entry!r}: the factor of the probability must be greater than 0 and at most 1"
            )
    return tuple((name, found[name]) for name in GROUPS if name in found)


def probability(config: ml_collections.ConfigDict) -> Probability:
    """Return the probability of ADA and APA: fixed, scheduled or adapted."""
    own, schedule = config.augment, schedules.in_place_of(config, "augment_p", "augment.p", 0.0)
    if schedule and own.target:
        raise UserError(f"schedule.augment_p and augment.target={own.target:g} both change augment.p; use one of them")
    if schedule and any(part.first > 1 or part.last > 1 for part in schedule.parts):
        raise UserError(f"schedule.augment_p {config.schedule.augment_p!r}: a probability is at most 1")
    if not (schedule or own.target or own.p):
        raise UserError(
            "augment.ada and augment.apa have no effect while augment.p is 0: set it, augment.target (0.6: the papers' "
            "adaptation) or schedule.augment_p"
        )
    return Probability(schedule or own.p, own.target, own.speed, own.every * config.batch_size)


def _entries(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for entry in values for name in entry.split(","))
