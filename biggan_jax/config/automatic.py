"""Values of keys that are `auto`: computed from other keys."""

import math

import ml_collections

from biggan_jax.config.keys import AUTO
from biggan_jax.config.own_data import unresolved
from biggan_jax.errors import UserError


def refuse_unresolved(config: ml_collections.ConfigDict) -> None:
    """Raise UserError if a key is `auto` that only training resolves, from its data."""
    if left := unresolved(config):
        known = "biggan-train resolves it from a prepared set, and stores the result in the run's config.json"
        raise UserError(
            f"{left[0]} is auto, which has no value here: {known}; give that file as --config_json, or a value"
        )


def resolve(config: ml_collections.ConfigDict) -> str:
    """Replace regularizer.r1=auto by its value, in place. Return a sentence with the formula, or "" without `auto`.

    Raises UserError if the rule does not apply, or for other keys that are `auto`.
    """
    refuse_unresolved(config)
    if config.regularizer.r1 != AUTO:
        return ""
    model, size = config.model, config.batch_size
    shape = (model.resolution, model.resolution) if "resolution" in model else tuple(model.image_shape)[:2]
    if len(shape) != 2:
        raise UserError("regularizer.r1=auto is a rule for images, but the data are vectors; set a number")
    value = config.regularizer.r1 = 0.0002 * math.prod(shape) / size
    return f"regularizer.r1=auto is {value:.6g}: 0.0002 x {shape[0]} x {shape[1]} / batch_size {size} (StyleGAN2-ADA)"
