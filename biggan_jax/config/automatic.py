"""Values of keys that are `auto`: computed from other keys."""

import math

import ml_collections

from biggan_jax.config.keys import AUTO
from biggan_jax.types import UserError


def resolve(config: ml_collections.ConfigDict) -> str:
    """Replace each `auto` in the config by its value, in place. Return a sentence with the formula, or "" without `auto`.

    Raises UserError if the rule does not apply.
    """
    if config.regularizer.r1 != AUTO:
        return ""
    model, size = config.model, config.batch_size
    shape = (model.resolution, model.resolution) if "resolution" in model else tuple(model.image_shape)[:2]
    if len(shape) != 2:
        raise UserError("regularizer.r1=auto is a rule for images, but the data are vectors; set a number")
    value = config.regularizer.r1 = 0.0002 * math.prod(shape) / size
    return f"regularizer.r1=auto is {value:.6g}: 0.0002 x {shape[0]} x {shape[1]} / batch_size {size} (StyleGAN2-ADA)"
