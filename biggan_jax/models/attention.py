"""Which form of attention runs on which devices."""

import ml_collections
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.layers import blocked_attention, fused_attention
from biggan_jax.layers.attention import Attend, attend


def attention_on(mesh: Mesh | None, config: ml_collections.ConfigDict, *, twice: bool = False) -> Attend:
    """The function that computes attention on the mesh's devices; all are equal but for rounding.

    twice: its gradient is differentiated, as R1 does.
    """
    if not twice and config.fused_attention and config.dtype == "bfloat16" and fused_attention.runs_on(mesh):
        return sharding.on_each_device(fused_attention.attend, mesh, otherwise=attend)
    if blocked_attention.runs_on(mesh):
        return sharding.on_each_device(blocked_attention.attend, mesh, otherwise=attend)
    return attend
