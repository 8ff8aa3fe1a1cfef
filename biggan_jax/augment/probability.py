"""The probability of ADA and APA: fixed, scheduled, or adapted to what D makes of real images (Karras et al. 2020)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from biggan_jax.types import Logit

STATE = "augment"
"""The name of an adapted probability in a family's extra state: {p, signs, images}."""


class Probability(NamedTuple):
    """A probability over steps.

    first: its value, or a function of the number of steps done; of an adapted one, its first value.
    target: it is adapted so that the mean sign of D's logits of real images is this; 0: it is not adapted.
    speed: images over which an adapted one changes by 1. every: images between its changes.
    """

    first: float | Callable[[jax.Array | int], jax.Array] = 0.0
    target: float = 0.0
    speed: float = 500_000
    every: int = 1

    def initial(self) -> dict[str, jax.Array]:
        """Return the state of an adapted one: p, and the sum of signs and number of images since its last change."""
        return {"p": jnp.float32(self.first), "signs": jnp.float32(0), "images": jnp.float32(0)}

    def at(self, extra: dict[str, Any], step: jax.Array | int) -> jax.Array:
        """Return the probability after `step` steps. extra: the family's extra state."""
        if self.target:
            return extra[STATE]["p"]
        return jnp.asarray(self.first(step) if callable(self.first) else self.first, jnp.float32)

    def adapted(self, state: dict[str, jax.Array], real: Logit) -> dict[str, jax.Array]:
        """Return the state after an update of D, which gave `real` [B]: the sign of the difference decides the direction."""
        signs = state["signs"] + jnp.sign(jax.lax.stop_gradient(real)).sum()
        images = state["images"] + len(real)
        due = images >= self.every
        move = jnp.sign(signs / images - self.target) * images / self.speed
        p = jnp.where(due, jnp.maximum(state["p"] + move, 0), state["p"])
        return {"p": p, "signs": jnp.where(due, 0, signs), "images": jnp.where(due, 0, images)}
