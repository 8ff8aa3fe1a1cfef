"""Lay the training state out on the mesh and compile the training step for it."""

import functools

import jax

from biggan_jax import sharding
from biggan_jax.family import Family
from biggan_jax.layers.convolution import in_pieces
from biggan_jax.layers.few_images import whole_on
from biggan_jax.state import TrainState, init_state
from biggan_jax.train_step import train_step


def state_layout(gan: Family) -> TrainState:
    """Return the sharding of each array of the state on the model's mesh."""
    assert gan.mesh is not None
    shapes = jax.eval_shape(functools.partial(init_state, gan), 0)
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
    if gan.mesh.devices.flat[0].platform == "tpu":
        step = whole_on(gan.mesh.size)(step)
    return jax.jit(step, donate_argnums=0, out_shardings=layout)
