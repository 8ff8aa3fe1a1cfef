"""Lay the training state out on the mesh and compile the training step for it."""

import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax import sharding
from biggan_jax.family import Family
from biggan_jax.layers.convolution import in_pieces
from biggan_jax.state import TrainState, init_shapes, init_state
from biggan_jax.train_step import train_step

logger = logging.getLogger(__name__)

UNCUT: dict[str, Any] = {"xla_tpu_run_space_to_batch": False, "xla_tpu_run_space_to_batch_on_new_platforms": False}
"""Options by which the compiler of a TPU v4 or newer leaves pictures whole.

With fewer than 8 images a chip it cuts them into strips that overlap, which are images of the batch ("space to batch"). By its own
estimate most convolutions then take 1.3 to 3.3 times the cycles; a large picture of one image a chip takes a fifth less.
"""


def state_layout(gan: Family) -> TrainState:
    """Return the sharding of each array of the state on the model's mesh."""
    assert gan.mesh is not None
    shapes = init_shapes(gan)
    return sharding.state_sharding(shapes, gan.mesh, split_over_data=gan.shard_update)


def sharded_init_state(gan: Family, seed: int) -> TrainState:
    """Return a fresh state, laid out on the model's mesh."""
    return jax.jit(functools.partial(init_state, gan), out_shardings=state_layout(gan))(seed)


def compile_step(gan: Family):
    """Return the jitted train_step: (state, batch) to (state, metrics). It donates the memory of the old state."""
    assert gan.mesh is not None
    layout = state_layout(gan), sharding.replicated(gan.mesh)
    step = functools.partial(train_step, gan)
    if gan.mesh.size == 1 and gan.mesh.devices.flat[0].platform == "cpu":
        step = in_pieces()(step)
    return jax.jit(step, donate_argnums=0, out_shardings=layout, compiler_options=compiler_options(gan.mesh))


@functools.lru_cache
def compiler_options(mesh: jax.sharding.Mesh) -> dict[str, Any] | None:
    """Return the options with which a step is compiled for the mesh: UNCUT where pictures would be cut, if its compiler has it."""
    device = mesh.devices.flat[0]
    if device.platform != "tpu" or device.device_kind in ("TPU v2", "TPU v3"):
        return None
    scalar = jax.ShapeDtypeStruct((), jnp.float32, sharding=sharding.replicated(mesh))
    try:
        jax.jit(jnp.negative).lower(scalar).compile(compiler_options=UNCUT)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        logger.warning("this TPU compiler has no options for space-to-batch: fewer than 8 images a chip may be slow")
        return None
    return UNCUT
