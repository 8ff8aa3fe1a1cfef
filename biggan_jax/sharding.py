"""The device mesh, and the sharding of states and batches over it. No other file names a mesh axis."""

import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from biggan_jax.types import Array, Tree, UserError

AXES = ("data", "fsdp")  # The batch is sharded over both, large arrays of the state over fsdp; see `state_sharding`.

# An array of the state is sharded if the first pattern is in its path and the second is not. Statistics and singular vectors
# are tiny and used unsharded. A family's `extra` state is not laid out as weights are.
SHARDED, REPLICATED = r"(kernel|embedding)'\]$", r"\.(variables|spectral|extra)\b"
MIN_SHARDED_SIZE = 2**14  # Elements. Of smaller arrays, gathering the shards would take longer than sharding saves.


def make_mesh(devices: list[jax.Device] | None = None, data: int = -1, fsdp: int = 1) -> Mesh:
    """Return a mesh [data, fsdp] of `devices`, by default all devices of all hosts.

    One of the two sizes may be -1: the number of devices divided by the other. Raises UserError, which names sizes that fit,
    if their product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count, sizes = len(devices), {"data": data, "fsdp": fsdp}
    for axis, size in sizes.items():
        if size == 0 or size < -1:
            raise UserError(f"mesh.{axis} is {size}; it must be a number of devices, or -1 for all that remain")
    if data == fsdp == -1:
        raise UserError("mesh.data and mesh.fsdp are both -1; only one of them can be")
    known = data * fsdp if -1 not in (data, fsdp) else max(data, fsdp)
    if count % known or (-1 not in (data, fsdp) and known != count):
        sizes_that_fit = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
        hint = f"use mesh.data=-1 and mesh.fsdp={sizes_that_fit.replace(', ', ' or ')}"
        devices_here = "1 device" if count == 1 else f"{count} devices"
        raise UserError(f"mesh.data={data}, mesh.fsdp={fsdp} does not fit {devices_here}; {hint}")
    shape = tuple(count // known if size == -1 else size for size in sizes.values())
    # Auto, since make_mesh's default may be Explicit, where every operation must name its output's sharding.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds completely."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Return the sharding of the batch axis, after `leading` others such as d_steps, over every mesh axis."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading, AXES))


def state_sharding(tree, mesh: Mesh, *, split_over_data: bool):
    """Return the sharding of each array of a state, or of a part of one.

    A large array is sharded along its longest axis that the number of shards divides. It is sharded over fsdp or, with
    `split_over_data`, over all devices. Each device then updates its own shard of weights, moments and average
    (ZeRO; Rajbhandari et al. 2020), which divides the cost of spectral norm and of the optimiser by all devices.
    """
    groups = (AXES, ("fsdp",)) if split_over_data else (("fsdp",),)

    def one(path, leaf):
        name = jax.tree_util.keystr(path)
        sharded = re.search(SHARDED, name) and not re.search(REPLICATED, name)
        return NamedSharding(mesh, _partition(leaf.shape, groups, mesh) if sharded else PartitionSpec())

    return jax.tree_util.tree_map_with_path(one, tree)


def _partition(shape: tuple[int, ...], groups: tuple[tuple[str, ...], ...], mesh: Mesh) -> PartitionSpec:
    """Return the spec over the first group of axes whose devices divide an axis of the shape."""
    if math.prod(shape) < MIN_SHARDED_SIZE:
        return PartitionSpec()
    for axes in groups:
        shards = math.prod(mesh.shape[axis] for axis in axes)
        fitting = [size for size in shape if size % shards == 0 and size > 1]
        if shards > 1 and fitting:
            longest = shape.index(max(fitting))
            return PartitionSpec(*(None,) * longest, axes)
    return PartitionSpec()


def with_sharding(shapes, layout):
    """Return the tree of shapes, each with its sharding, as lowering and restoring need it."""
    return jax.tree.map(lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes, layout)


def constrain_batch(x: Array, mesh: Mesh | None) -> Array:
    """Shard x [B, ...], drawn inside a jitted function, over the mesh; without a mesh return x."""
    # Random draws carry no sharding: every device would repeat the whole forward pass after them.
    return x if mesh is None else jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def on_each_device(kernel, mesh: Mesh, *, otherwise):
    """Return a function that runs `kernel` on each device's shard of the arrays [B, ...]; the compiler cannot shard a kernel.

    If the number of devices does not divide the batch, as with the one image of an initialisation, `otherwise` runs instead.
    """
    spec = PartitionSpec(AXES)
    sharded = jax.shard_map(kernel, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return lambda *arrays: (otherwise if arrays[0].shape[0] % mesh.size else sharded)(*arrays)


def gather(tree: Tree, mesh: Mesh | None) -> Tree:
    """Replicate every array of the tree on all devices, inside a jitted function, before it is used with a batch."""
    # Otherwise the sharding of the weights spreads to the activations, at the cost of thousands of collectives.
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def scatter(tree, mesh: Mesh | None, *, split_over_data: bool):
    """Shard gradients as the state shards their weights: the reverse of `gather`."""
    if mesh is None:
        return tree
    # Replicate first, or the sharding spreads to the backward pass. XLA joins sum and slice to one reduce-scatter.
    tree = gather(tree, mesh)
    return jax.lax.with_sharding_constraint(tree, state_sharding(tree, mesh, split_over_data=split_over_data))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Convert this host's part [d_steps, B / hosts, ...] of a step's batch to global, sharded arrays [d_steps, B, ...]."""
    sharding = batch_sharding(mesh, leading=1)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def divisible(batch_size: int, mesh: Mesh | None) -> int:
    """Round `batch_size` up to a multiple of the number of devices of the mesh."""
    devices = 1 if mesh is None else mesh.size
    return -(-batch_size // devices) * devices


def check_batch_size(batch_size: int, devices: int, microbatches: int = 1, d_chunks: int = 1) -> None:
    """Raise UserError, with the nearest sizes that fit, if the batch cannot be divided evenly.

    >>> check_batch_size(2048, devices=256)
    >>> check_batch_size(100, devices=8)
    Traceback (most recent call last):
    biggan_jax.errors.UserError: batch_size 100 is not divisible by 8 devices; nearest are 96 and 104
    """
    parts = devices * microbatches * d_chunks
    if batch_size % parts:
        below = batch_size // parts * parts
        nearest = f"nearest are {below} and {below + parts}" if below else f"nearest is {parts}"
        times = f" times {microbatches} microbatches" if microbatches > 1 else ""
        times += f" times {d_chunks} chunks" if d_chunks > 1 else ""
        raise UserError(f"batch_size {batch_size} is not divisible by {devices} devices{times}; {nearest}")
