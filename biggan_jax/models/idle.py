"""Keys that have no effect unless others are set. A config with such a key is refused: a typing error would else go unnoticed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections

from biggan_jax.conditioning import CLASS_LOSSES
from biggan_jax.config import choose
from biggan_jax.config.defaults import general
from biggan_jax.config.keys import Key
from biggan_jax.losses import LOSSES
from biggan_jax.models.heads import Head
from biggan_jax.regularizers import TERMS
from biggan_jax.types import UserError


class Needs(NamedTuple):
    """keys: those that need others. what: these. met(config, kind of D's head): whether they are set."""

    keys: tuple[str, ...]
    what: str
    met: Callable[[ml_collections.ConfigDict, str], Any]


def penalises_gradients(config: ml_collections.ConfigDict) -> bool:
    """Return whether a gradient penalty is set."""
    return any(config.regularizer[name] for name, term in TERMS.items() if term.gradient)


NEEDS = (
    Needs(
        ("regularizer.every", "schedule.penalties"),
        "a gradient penalty, such as regularizer.r1",
        lambda c, head: penalises_gradients(c),
    ),
    Needs(("regularizer.gp_target",), "regularizer.gp", lambda c, head: c.regularizer.gp),
    Needs(
        ("regularizer.see",),
        "a gradient penalty and augment.policy or augment.ada",
        lambda c, head: penalises_gradients(c) and (c.augment.policy or c.augment.ada),
    ),
    Needs(
        ("regularizer.zcr_radius",),
        "regularizer.zcr_d or zcr_g",
        lambda c, head: c.regularizer.zcr_d or c.regularizer.zcr_g,
    ),
    Needs(
        ("regularizer.lecam_decay", "regularizer.lecam_start"),
        "regularizer.lecam",
        lambda c, head: c.regularizer.lecam,
    ),
    Needs(
        ("regularizer.top_k_least", "regularizer.top_k_steps"),
        "regularizer.top_k",
        lambda c, head: c.regularizer.top_k,
    ),
    Needs(
        ("regularizer.logan_beta", "regularizer.logan_rate", "regularizer.logan_cost"),
        "regularizer.logan",
        lambda c, head: c.regularizer.logan,
    ),
    Needs(
        ("augment.p", "augment.target", "augment.speed", "augment.every", "schedule.augment_p"),
        "augment.ada or augment.apa",
        lambda c, head: c.augment.ada or c.augment.apa,
    ),
    Needs(
        ("condition.d_weight", "condition.d_fake_weight", "condition.g_weight"),
        "condition.d ac, contrastive or d2dce",
        lambda c, head: head in CLASS_LOSSES,
    ),
    Needs(
        ("condition.temperature", "condition.embed_dim"),
        "condition.d contrastive or d2dce",
        lambda c, head: head in ("contrastive", "d2dce"),
    ),
    Needs(("condition.normalize",), "condition.d=ac", lambda c, head: head == "ac"),
    Needs(("condition.margin",), "condition.d=d2dce", lambda c, head: head == "d2dce"),
    Needs(
        ("optimizer.momentum", "optimizer.momentum_end"),
        "optimizer.name=sgd",
        lambda c, head: c.optimizer.name == "sgd",
    ),
    Needs(("optimizer.last_momentum",), "optimizer.momentum_end", lambda c, head: c.optimizer.momentum_end),
    Needs(
        ("optimizer.decay_start", "optimizer.decay_end"),
        "optimizer.decay=linear",
        lambda c, head: c.optimizer.decay == "linear",
    ),
    Needs(
        ("optimizer.decay_factor", "optimizer.least_lr"),
        "optimizer.decay=exponential",
        lambda c, head: c.optimizer.decay == "exponential",
    ),
)


def refuse(config: ml_collections.ConfigDict, head: Head | None) -> None:
    """Raise UserError for a key that differs from its default and has no effect. head: D's, if it ends in heads.apply_head."""
    if head is None:
        _refuse_without_head(config)
    defaults, kind = general(), head.kind if head else "none"
    for needs in NEEDS:
        for key in needs.keys:
            section, _, name = key.partition(".")
            value, default = config[section][name], defaults[key]
            default = default.default if isinstance(default, Key) else default
            if value != default and not needs.met(config, kind):
                raise UserError(f"{key}={value} has no effect without {needs.what}")


def _refuse_without_head(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for a key of D's head, in a D without one. The message names those that are set, and no other."""
    own, features = config.condition, config.regularizer.feature_matching
    wrong = {
        f"condition.d={own.d}": own.d != "projection",
        f"loss={config.loss}": choose(LOSSES, "loss", config.loss).of_classes,
        f"regularizer.feature_matching={features:g}": features,
    }
    if found := ", ".join(key for key, is_set in wrong.items() if is_set):
        raise UserError(
            f"{found}: D of model.family {config.model.family} has no head for classes or features here; leave "
            f"{'it at its default' if ', ' not in found else 'them at their defaults'}"
        )
