"""Owns the words that every room shares: what an image, a label, a latent and a batch are, and a user's mistake.

It must not know any other room.
"""

from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
"""On the devices, or on the host."""

Image: TypeAlias = Array
"""[B, H, W, 3]. float32 in [-1, 1] inside the networks, uint8 in [0, 255] everywhere else."""

Label: TypeAlias = Array
"""int32 [B] in [0, num_classes), or float32 [B, num_classes]: a mixture of classes, rows summing to one."""

Latent: TypeAlias = Array
"""z, float32 [B, dim_z]."""

Logit: TypeAlias = jax.Array
"""float32 [B]. Large where D believes that an image is real."""

Batch: TypeAlias = dict[str, jax.Array]
"""One round's real data: image uint8 [d_steps, B, H, W, 3] and label int32 [d_steps, B], B global."""

Metrics: TypeAlias = dict[str, jax.Array]
"""Names to float32 scalars. But d_faults and g_faults: bool [..., weights + 1], what of an update was not finite: the
player's weights or their gradients, in order, and last the loss. An update with any is not applied."""

Params: TypeAlias = dict[str, Any]
"""A nested dict of arrays, as Linen makes it."""

Arrays = TypeVar("Arrays", jax.Array, np.ndarray)
"""What comes back lies where what was given lies."""

Tree = TypeVar("Tree")
"""Arrays in whatever structure: what comes back has the same."""


class UserError(Exception):
    """A mistake that its user can mend. The message is one sentence: what is wrong, where, and what would work.

    Command lines print it without a traceback and exit with its `status`; IPython, and so a notebook, prints it likewise.
    """

    status = 2

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]
