"""Owns the device mesh and what is laid where on it; the only file that names a mesh axis. It must not know networks."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from biggan_jax.types import UserError

AXES = ("data",)
"""data: the batch is split over it, parameters are repeated along it."""


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices of all hosts, or of those given."""
    devices = jax.devices() if devices is None else devices
    # Auto, since make_mesh's default may be Explicit, where every operation must name its output's sharding.
    return jax.make_mesh((len(devices),), AXES, axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Splits the batch axis, which comes after `leading` others (d_steps, in a round's batch), over every mesh axis."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading, AXES))


def constrain_batch(x: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Splits x [B, ...] drawn inside a jitted function over the mesh; identity without one.

    Random draws carry no sharding: without this the whole forward pass that follows them is repeated on every device.
    """
    return x if mesh is None else jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This host's part [d_steps, B / hosts, ...] of a round's batch to the global, sharded arrays [d_steps, B, ...]."""
    sharding = batch_sharding(mesh, leading=1)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def check_batch_size(batch_size: int, devices: int, microbatches: int = 1) -> None:
    """Raises UserError, naming the nearest sizes that would do, if the batch cannot be split evenly."""
    parts = devices * microbatches
    if batch_size % parts:
        below = batch_size // parts * parts
        nearest = f"nearest are {below} and {below + parts}" if below else f"nearest is {parts}"
        times = f" times {microbatches} microbatches" if microbatches > 1 else ""
        raise UserError(f"batch_size {batch_size} is not divisible by {devices} devices{times}; {nearest}")
