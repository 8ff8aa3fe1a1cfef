"""Compile the training step for devices that need not be attached.

Compiling takes minutes, so results are cached by a hash of the compiler's input.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from biggan_jax import sharding
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, state_layout
from biggan_jax.runtime.files import atomic_write, unique_suffix
from biggan_jax.state import init_shapes
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = re.compile(
    r"(?:Used |HLO temporaries \()([\d.]+)([KMGT]?)\)? (?:of|exceeds available HBM) \(?([\d.]+)([KMGT]?)(?: hbm|\))"
)
"""The TPU compiler's two messages for a program that is too large: needed and available memory, numbers with units."""

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step; figures are per device.

    content: a hash of the compiler's input. memory: bytes of arguments, temporaries and outputs, aliased ones counted once.
    limit: the memory the compiler found available, if the program exceeds it; text is then empty. flops: as compiled, with
    a loop's body counted once.
    """

    content: str | None = None
    text: str = ""
    memory: int | None = None
    limit: int | None = None
    flops: float | None = None
    seconds: float | None = None


NOT_COMPILED = Program()


def last_step(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh | None = None) -> Family:
    """Return the model as the last step computes it: of a network that grows, the largest."""
    return build_gan(config, mesh).in_step(config.num_steps - 1)


def batch_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh | None = None):
    """Return the shapes of a step's batch, sharded over the mesh."""
    gan, layout = last_step(config), None if mesh is None else sharding.batch_sharding(mesh, leading=1)
    shapes = gan.data_shapes(config.batch_size)
    array = lambda dtype, *shape: jax.ShapeDtypeStruct((gan.minibatches, *shape), dtype, sharding=layout)
    size, vector = shapes["image"][0], gan.condition.kind == "vector"
    label = array(jnp.float32 if vector else jnp.int32, size, *gan.label_shape)
    images = {name: array(jnp.float32 if len(shape) == 2 else jnp.uint8, *shape) for name, shape in shapes.items()}
    return {**images, "label": label}


def lower(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> jax.stages.Lowered:
    """Lower the step exactly as `train` runs it on the mesh."""
    # Kernels embed the files and lines of the code; without them, a program's hash does not depend on where the code is.
    limit = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        return compile_step(last_step(config, mesh)).lower(state_shapes(config, mesh), batch_shapes(config, mesh))
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)


def state_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh):
    """Return the shapes of the state, sharded over the mesh."""
    gan = build_gan(config, mesh)
    return sharding.with_sharding(init_shapes(gan), state_layout(gan))


def state_bytes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> int:
    """Return the bytes of the state on one device."""
    shapes = jax.tree.leaves(state_shapes(config, mesh))
    return sum(math.prod(s.sharding.shard_shape(s.shape)) * s.dtype.itemsize for s in shapes)


class Work(NamedTuple):
    """FLOPs of a step over all devices: in the mean, and with all updates."""

    mean: float
    most: float


def useful_work(config: ml_collections.ConfigDict) -> Work:
    """Return the FLOPs of the same step for one device, without chunks and recomputation.

    They are this code's FLOPs: a convolution folded into its resampling counts as one, and attention's gradient includes
    the scores that it recomputes. In the mean, an update that runs in each n-th step counts 1 / n.
    """
    updates = last_step(config).updates()
    most = _flops(config, updates=range(len(updates)))
    always = [i for i, update in enumerate(updates) if update.always]
    if len(always) == len(updates):
        return Work(most, most)
    least = _flops(config, updates=always)
    own = {i: _flops(config, updates=[*always, i]) - least for i in range(len(updates)) if i not in always}
    return Work(least + sum(flops / updates[i].every for i, flops in own.items()), most)


def _flops(config: ml_collections.ConfigDict, updates: Iterable[int]) -> float:
    """Return the FLOPs of a step of the updates of these numbers."""
    config = ml_collections.ConfigDict(config.to_dict())
    config.remat, config.d_chunks = "none", 1
    if config.spectral_advance == "update":  # Otherwise each microbatch runs its own power iterations.
        config.microbatches = 1
    gan = last_step(config)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise UserError("useful FLOPs need the CPU, which JAX_PLATFORMS leaves out; append ,cpu to it") from error
    step = functools.partial(train_step, gan, updates=tuple(gan.updates()[i] for i in sorted(updates)))
    with jax.default_device(cpu):
        state = init_shapes(gan)
        return (jax.jit(step).lower(state, batch_shapes(config)).cost_analysis() or {})["flops"]


def compile(lowered: jax.stages.Lowered, target: str, given: Mapping[str, Any] | None = None) -> Program:
    """Compile for `target`, a name of the devices, or read the result from the cache: $XDG_CACHE_HOME/biggan_jax/plans.

    given: the options of the compiler with which the program was lowered.
    """
    content, cache = content_of(lowered, target, given), pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    path = cache.expanduser() / "biggan_jax" / "plans" / f"{content}.json.gz"
    # A missing or damaged entry is compiled again.
    with contextlib.suppress(OSError, EOFError, ValueError, TypeError, zlib.error):
        program = Program(**json.loads(gzip.decompress(path.read_bytes())))
        logger.info("read from the cache: %s", path)
        return program
    logger.info("compiling for %s: takes minutes on a few cores", target)
    start = time.monotonic()
    with futures.ThreadPoolExecutor(1) as thread:
        compiling = thread.submit(_compile, lowered, content)
        while not futures.wait([compiling], timeout=20).done:
            logger.info("still compiling, %d s", time.monotonic() - start)
    program = compiling.result()
    logger.info("done in %d s", time.monotonic() - start)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, unique_suffix()) as unfinished:
            pathlib.Path(unfinished).write_bytes(gzip.compress(json.dumps(dataclasses.asdict(program)).encode()))
    except OSError as error:
        logger.warning("the compiled program cannot be cached: %s", error)
    return program


def memory_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Return the bytes that one device needs: arguments, temporaries and outputs, aliased ones once; None if unknown."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    return total - memory.alias_size_in_bytes


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result."""
    found = {}
    for package in ("jax", "jaxlib", "libtpu", "jax-cuda12-pjrt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _compile(lowered: jax.stages.Lowered, content: str) -> Program:
    start = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if not (match := OUT_OF_MEMORY.search(str(error))):
            raise
        used, limit = (round(float(match[i]) * UNITS[match[i + 1]]) for i in (1, 3))
        return Program(content, memory=used, limit=limit, seconds=time.monotonic() - start)
    flops, seconds = (compiled.cost_analysis() or {}).get("flops"), time.monotonic() - start
    return Program(content, compiled.as_text() or "", memory_bytes(compiled), None, flops, seconds)


def content_of(lowered: jax.stages.Lowered, target: str, given: Mapping[str, Any] | None = None) -> str:
    """Return a hash of the compiler's input: the program, its target, versions and options."""
    # Names of operations count, since the breakdown uses them; the files and lines beside them do not.
    names = sorted(set(re.findall(r'loc\("(jit\([^"]*)"', lowered.as_text(debug_info=True))))
    options = [os.environ.get(name, "") for name in ("LIBTPU_INIT_ARGS", "XLA_FLAGS")]
    options += [json.dumps(given)] if given else []
    parts = [lowered.as_text(), *names, target, json.dumps(versions()), *options, *Program.__annotations__]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
