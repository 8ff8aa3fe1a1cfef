"""Types that every module shares: images, labels, latents, batches, conditions; and a user's error."""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np

from biggan_jax.errors import InterruptedRunError as InterruptedRunError
from biggan_jax.errors import UserError as UserError

Array: TypeAlias = jax.Array | np.ndarray
"""On the devices or on the host."""

Image: TypeAlias = Array
"""[B, H, W, C]: float32 in [-1, 1] inside the networks, uint8 in [0, 255] everywhere else. Vectors: float32 [B, n]."""

Label: TypeAlias = Array
"""int32 [B] in [0, num_classes), or float32 [B, num_classes]: a mixture of classes, rows summing to one. Texts: int32 [B, L], the
bytes of their UTF-8, with zeros behind the last; several of each image: [B, n, L]."""

Latent: TypeAlias = Array
"""z, float32 [B, dim_z]."""

Logit: TypeAlias = jax.Array
"""float32 [B]. The higher, the more real."""

Batch: TypeAlias = dict[str, Array]
"""Arrays by name. One step's real data: image uint8 [minibatches, B, H, W, C], label int32 [minibatches, B], B global."""

Metrics: TypeAlias = dict[str, jax.Array]
"""Names to float32 scalars, except *_faults: bool [..., weights + 1], what in an update was not finite: the trained
weights or their gradients, in order, and last the loss. Such an update is not applied."""

Params: TypeAlias = dict[str, Any]
"""A nested dict of arrays, as Flax Linen makes it."""


class Condition(NamedTuple):
    """What images are conditioned on.

    kind: none; classes, `size` of them; vector, of `size` real numbers; text, of up to `size` bytes; or image, of `size` channels,
    which is translated.
    """

    kind: str = "none"
    size: int = 0

    @property
    def of_data(self) -> bool:
        """Whether conditions are those of real images alone: vectors and texts have no distribution to draw from."""
        return self.kind in ("vector", "text")


UNCONDITIONAL = Condition()


Arrays = TypeVar("Arrays", jax.Array, np.ndarray)
"""Results stay where the arguments are: on the host or on the devices."""

Tree = TypeVar("Tree")
"""A pytree; results have the same structure."""
