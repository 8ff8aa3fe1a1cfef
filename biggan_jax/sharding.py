"""Owns the device mesh and what is laid where on it; the only file that names a mesh axis. It must not know networks."""

import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from biggan_jax.types import Array, Tree, UserError

AXES = ("data", "fsdp")
"""The batch is split over both. Large arrays of the state lie in parts over fsdp; see `state_sharding`."""

SPLIT = (
    # Statistics and singular vectors are used whole, and tiny. What a family keeps itself has no weight's layout.
    (r"\.(variables|spectral|extra)\b", False),
    (r"(kernel|embedding)'\]$", True),
    (r"", False),
)
"""Which arrays of the state lie in parts: (pattern of the path, answer), the first that is found in it counts."""

LEAST_SPLIT = 2**14
"""Elements below which an array is kept whole: sending its parts would take longer than what is saved."""


def make_mesh(devices: list[jax.Device] | None = None, data: int = -1, fsdp: int = 1) -> Mesh:
    """A mesh [data, fsdp] of all devices of all hosts, or of those given; one of the two may be -1: what is left.

    Raises UserError, naming what would do, if the product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    sizes = {"data": data, "fsdp": fsdp}
    for axis, size in sizes.items():
        if size == 0 or size < -1:
            raise UserError(f"mesh.{axis} is {size}; it must be a number of devices, or -1 for what is left")
    if data == fsdp == -1:
        raise UserError("mesh.data and mesh.fsdp are both -1; only one can be what is left")
    known = data * fsdp if -1 not in (data, fsdp) else max(data, fsdp)
    if count % known or (-1 not in (data, fsdp) and known != count):
        divisors = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
        raise UserError(
            f"mesh.data={data}, mesh.fsdp={fsdp} does not fit {count} devices; "
            f"mesh.data=-1 with mesh.fsdp one of {divisors} does"
        )
    shape = tuple(count // known if size == -1 else size for size in sizes.values())
    # Auto, since make_mesh's default may be Explicit, where every operation must name its output's sharding.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Splits the batch axis, which comes after `leading` others (d_steps, in a round's batch), over every mesh axis."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading, AXES))


def state_sharding(tree, mesh: Mesh, *, split_over_data: bool):
    """For each array of a state, or of a part of one, how it lies on the mesh: whole on each device, or in parts.

    Parts are cut along the longest axis that the devices divide, over fsdp, and, where `split_over_data`, over all
    devices: then each updates its own part of weights, moments and average (ZeRO; Rajbhandari et al. 2020), and what
    spectral norm and the optimiser cost is divided by them all.
    """
    groups = (AXES, ("fsdp",)) if split_over_data else (("fsdp",),)

    def one(path, leaf):
        name = jax.tree_util.keystr(path)
        wanted = next(answer for pattern, answer in SPLIT if re.search(pattern, name))
        return NamedSharding(mesh, _parts(leaf.shape, groups, mesh) if wanted else PartitionSpec())

    return jax.tree_util.tree_map_with_path(one, tree)


def _parts(shape: tuple[int, ...], groups: tuple[tuple[str, ...], ...], mesh: Mesh) -> PartitionSpec:
    if math.prod(shape) < LEAST_SPLIT:
        return PartitionSpec()
    for axes in groups:
        parts = math.prod(mesh.shape[axis] for axis in axes)
        fitting = [size for size in shape if size % parts == 0 and size > 1]
        if parts > 1 and fitting:
            longest = shape.index(max(fitting))
            return PartitionSpec(*(None,) * longest, axes)
    return PartitionSpec()


def with_sharding(shapes, layout):
    """The tree of shapes, each with its sharding: what lowering and restoring ask for."""
    return jax.tree.map(lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes, layout)


def constrain_batch(x: Array, mesh: Mesh | None) -> Array:
    """Splits x [B, ...] drawn inside a jitted function over the mesh; identity without one.

    Random draws carry no sharding: without this the whole forward pass that follows them is repeated on every device.
    """
    return x if mesh is None else jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def on_each_device(kernel, mesh: Mesh, *, otherwise):
    """The kernel, a function of arrays [B, ...], on each device's part of the batch by itself, since no compiler splits kernels.

    A batch that the devices do not divide, such as the one image of an initialisation, goes to the function `otherwise`.
    """
    spec = PartitionSpec(AXES)
    split = jax.shard_map(kernel, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return lambda *arrays: (otherwise if arrays[0].shape[0] % mesh.size else split)(*arrays)


def gather(tree: Tree, mesh: Mesh | None) -> Tree:
    """Every array of the tree whole on every device, inside a jitted function: where stored parts meet the batch.

    The only such place. Left to itself, the compiler lets the parts' layout leak into the activations, and pays for it
    with thousands of collectives.
    """
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def scatter(tree, mesh: Mesh | None, *, split_over_data: bool):
    """The way back, for gradients: every array in the parts in which the state keeps its weight."""
    if mesh is None:
        return tree
    # Whole first: else the parts' layout leaks into the backward pass. Sum and cut together are one reduce-scatter.
    tree = gather(tree, mesh)
    return jax.lax.with_sharding_constraint(tree, state_sharding(tree, mesh, split_over_data=split_over_data))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This host's part [d_steps, B / hosts, ...] of a round's batch to the global, sharded arrays [d_steps, B, ...]."""
    sharding = batch_sharding(mesh, leading=1)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def divisible(batch_size: int, mesh: Mesh | None) -> int:
    """`batch_size`, rounded up to a multiple of the mesh's devices."""
    devices = 1 if mesh is None else mesh.size
    return -(-batch_size // devices) * devices


def check_batch_size(batch_size: int, devices: int, microbatches: int = 1, d_chunks: int = 1) -> None:
    """Raises UserError, naming the nearest sizes that would do, if the batch cannot be split evenly.

    >>> check_batch_size(2048, devices=256)
    >>> check_batch_size(100, devices=8)
    Traceback (most recent call last):
    biggan_jax.types.UserError: batch_size 100 is not divisible by 8 devices; nearest are 96 and 104
    """
    parts = devices * microbatches * d_chunks
    if batch_size % parts:
        below = batch_size // parts * parts
        nearest = f"nearest are {below} and {below + parts}" if below else f"nearest is {parts}"
        times = f" times {microbatches} microbatches" if microbatches > 1 else ""
        times += f" times {d_chunks} chunks" if d_chunks > 1 else ""
        raise UserError(f"batch_size {batch_size} is not divisible by {devices} devices{times}; {nearest}")
