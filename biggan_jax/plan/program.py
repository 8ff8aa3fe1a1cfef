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
import threading
import time
import zlib

import jax
import jax.numpy as jnp
import ml_collections

from biggan_jax import sharding
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, state_layout
from biggan_jax.state import init_state
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = (
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
    re.compile(
        r"total memory required for HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"
    ),
)
"""The TPU compiler's messages for a program that is too large: needed and available memory, each a number and its unit."""

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step; figures are per device.

    content: a hash of the compiler's input. memory: bytes of arguments, temporaries and outputs, aliased ones counted once.
    limit: the memory the compiler found available, if the program exceeds it; text is then empty. flops: as compiled, with
    a loop's body counted once.
    """

    content: str | None
    text: str
    memory: int | None
    limit: int | None
    flops: float | None
    seconds: float | None


NOT_COMPILED = Program(content=None, text="", memory=None, limit=None, flops=None, seconds=None)


def batch_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh | None = None):
    """Return the shapes of a step's batch, sharded over the mesh."""
    layout = None if mesh is None else sharding.batch_sharding(mesh, leading=1)
    gan = build_gan(config)
    leading = gan.minibatches, config.batch_size
    vector = gan.condition.kind == "vector"
    arrays = {
        "image": ((*leading, *gan.image_shape), jnp.float32 if len(gan.image_shape) == 1 else jnp.uint8),
        "label": ((*leading, gan.condition.size), jnp.float32) if vector else (leading, jnp.int32),
    }
    return {name: jax.ShapeDtypeStruct(*array, sharding=layout) for name, array in arrays.items()}


def lower(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> jax.stages.Lowered:
    """Lower the step exactly as `train` runs it on the mesh."""
    with _without_source_locations():
        return compile_step(build_gan(config, mesh)).lower(state_shapes(config, mesh), batch_shapes(config, mesh))


def state_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh):
    """Return the shapes of the state, sharded over the mesh."""
    gan = build_gan(config, mesh)
    return sharding.with_sharding(jax.eval_shape(functools.partial(init_state, gan), 0), state_layout(gan))


def state_bytes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> int:
    """Return the bytes of the state on one device."""
    shapes = jax.tree.leaves(state_shapes(config, mesh))
    return sum(math.prod(s.sharding.shard_shape(s.shape)) * s.dtype.itemsize for s in shapes)


def useful_flops(config: ml_collections.ConfigDict) -> float:
    """Return the FLOPs of a step over all devices: of the same step for one device, without chunks and recomputation.

    They are this code's FLOPs: a convolution folded into its resampling counts as one, and attention's gradient includes
    the scores that it recomputes.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    config.remat, config.d_chunks = "none", 1
    if config.spectral_advance == "update":  # Otherwise each microbatch runs its own power iterations.
        config.microbatches = 1
    gan = build_gan(config)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise UserError(
            "useful FLOPs need the CPU backend, which JAX_PLATFORMS leaves out; append ,cpu to it"
        ) from error
    with jax.default_device(cpu):
        state = jax.eval_shape(functools.partial(init_state, gan), 0)
        lowered = jax.jit(functools.partial(train_step, gan)).lower(state, batch_shapes(config))
        return (lowered.cost_analysis() or {})["flops"]


def compile(lowered: jax.stages.Lowered, target: str, folder: pathlib.Path | None = None) -> Program:
    """Compile for `target`, a name of the devices, or read the cached result from `folder`."""
    folder = folder or cache_folder()
    content = content_of(lowered, target)
    path = folder / f"{content}.json.gz"
    if path.exists():
        with contextlib.suppress(
            OSError, EOFError, ValueError, TypeError, zlib.error
        ):  # A damaged entry is compiled again.
            program = Program(**json.loads(gzip.decompress(path.read_bytes())))
            logger.info("read from the cache: %s", path)
            return program
    with _progress(f"compiling for {target}: takes minutes on a few cores"):
        program = _compile(lowered, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(f".{os.getpid()}")
        written.write_bytes(gzip.compress(json.dumps(dataclasses.asdict(program)).encode()))
        written.replace(path)
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


def cache_folder() -> pathlib.Path:
    """Return the folder of the cache: $XDG_CACHE_HOME/biggan_jax/plans."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "biggan_jax" / "plans"


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result."""
    found = {}
    for package in ("jax", "jaxlib", "libtpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _compile(lowered: jax.stages.Lowered, content: str) -> Program:
    start = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        match = next(filter(None, (pattern.search(str(error)) for pattern in OUT_OF_MEMORY)), None)
        if not match:
            raise
        used, limit = (round(float(match[i]) * UNITS[match[i + 1]]) for i in (1, 3))
        return Program(content, "", used, limit, None, time.monotonic() - start)
    cost = compiled.cost_analysis() or {}
    return Program(
        content=content,
        text=compiled.as_text() or "",
        memory=memory_bytes(compiled),
        limit=None,
        flops=cost.get("flops"),
        seconds=time.monotonic() - start,
    )


def content_of(lowered: jax.stages.Lowered, target: str) -> str:
    """Return a hash of the compiler's input: the program, its target, versions and options."""
    # Names of operations count, since the breakdown uses them; the files and lines beside them do not.
    names = sorted(set(re.findall(r'loc\("(jit\([^"]*)"', lowered.as_text(debug_info=True))))
    options = [os.environ.get(name, "") for name in ("LIBTPU_INIT_ARGS", "XLA_FLAGS")]
    given = [lowered.as_text(), *names, target, json.dumps(versions()), *options, *Program.__annotations__]
    return hashlib.sha256("\0".join(given).encode()).hexdigest()[:24]


@contextlib.contextmanager
def _without_source_locations():
    """Keep files and lines, which kernels embed, out of a program, so that its hash does not depend on where the code is."""
    limit = jax.config.jax_traceback_in_locations_limit
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)


@contextlib.contextmanager
def _progress(what: str, every: float = 20.0):
    """Log `what`, then the elapsed time every so many seconds, until the block ends."""
    start, done = time.monotonic(), threading.Event()

    def report():
        while not done.wait(every):
            logger.info("still compiling, %d s", time.monotonic() - start)

    logger.info(what)
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    logger.info("done in %d s", time.monotonic() - start)
