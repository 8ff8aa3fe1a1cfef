"""Owns the training step as a compiled program for devices that need not be there. Must not know what is read off it.

Compiling takes minutes, so what the compiler said is kept, by the content of what it was given.
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

GIVEN_UP = (
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
    re.compile(
        r"total memory required for HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"
    ),
)
"""How the TPU compiler says that a program is too large: needed and available, each a number and its unit."""

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler said of the step, for one device.

    content: a hash of all that the compiler was given. memory: bytes of arguments, temporaries and outputs, what is aliased
    counted once. limit: bytes that the compiler itself would not exceed, where it gave up for that reason; then text is
    empty. flops: as compiled, a loop's body counted once.
    """

    content: str | None
    text: str
    memory: int | None
    limit: int | None
    flops: float | None
    seconds: float | None


NOT_COMPILED = Program(content=None, text="", memory=None, limit=None, flops=None, seconds=None)


def batch_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh | None = None):
    """A round's batch as shapes, laid out on the mesh."""
    layout = None if mesh is None else sharding.batch_sharding(mesh, leading=1)
    leading, size = (config.d_steps, config.batch_size), config.model.resolution
    return {
        "image": jax.ShapeDtypeStruct((*leading, size, size, 3), jnp.uint8, sharding=layout),
        "label": jax.ShapeDtypeStruct(leading, jnp.int32, sharding=layout),
    }


def lower(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> jax.stages.Lowered:
    """The true step, as `train` would run it on the mesh."""
    with _nameless_files():
        return compile_step(build_gan(config, mesh)).lower(state_shapes(config, mesh), batch_shapes(config, mesh))


def state_shapes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh):
    """The state as shapes, laid out on the mesh."""
    gan = build_gan(config, mesh)
    return sharding.with_sharding(jax.eval_shape(functools.partial(init_state, gan), 0), state_layout(gan))


def state_bytes(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> int:
    """What one device holds of the state all the time."""
    shapes = jax.tree.leaves(state_shapes(config, mesh))
    return sum(math.prod(s.sharding.shard_shape(s.shape)) * s.dtype.itemsize for s in shapes)


def useful_flops(config: ml_collections.ConfigDict) -> float:
    """Operations of a round over all devices: those of the same step written for one, in one part, nothing computed twice.

    As this code does the work, that is: convolutions in one with their resampling count as such, and attention's gradient
    with the scores that it makes anew.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    config.remat, config.d_chunks = "none", 1
    if config.spectral_advance == "update":  # Else each microbatch has power steps of its own.
        config.microbatches = 1
    gan = build_gan(config)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise UserError("work is counted on the CPU, which JAX_PLATFORMS leaves out; let it end in ,cpu") from error
    with jax.default_device(cpu):
        state = jax.eval_shape(functools.partial(init_state, gan), 0)
        lowered = jax.jit(functools.partial(train_step, gan)).lower(state, batch_shapes(config))
        return (lowered.cost_analysis() or {})["flops"]


def compile(lowered: jax.stages.Lowered, target: str, folder: pathlib.Path | None = None) -> Program:
    """The program for `target`, a name of the devices; from `folder` where the same was compiled before."""
    folder = folder or cache_folder()
    content = content_of(lowered, target)
    path = folder / f"{content}.json.gz"
    if path.exists():
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError, zlib.error):  # If it is damaged: anew.
            program = Program(**json.loads(gzip.decompress(path.read_bytes())))
            logger.info("compiled before: %s", path)
            return program
    with _alive(f"compiling for {target}: minutes, on a few cores"):
        program = _compile(lowered, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(f".{os.getpid()}")
        written.write_bytes(gzip.compress(json.dumps(dataclasses.asdict(program)).encode()))
        written.replace(path)
    except OSError as error:
        logger.warning("the compiled program is not kept for another time: %s", error)
    return program


def held_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Memory that one device needs: arguments, temporaries and outputs, what is aliased once; None where nothing says it."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    return total - memory.alias_size_in_bytes


def cache_folder() -> pathlib.Path:
    """Where compiled plans are kept: $XDG_CACHE_HOME/biggan_jax/plans."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "biggan_jax" / "plans"


def versions() -> dict[str, str]:
    """Of what decides the result."""
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
        # The compiler refuses what its chip cannot hold, and says by how much.
        match = next(filter(None, (pattern.search(str(error)) for pattern in GIVEN_UP)), None)
        if not match:
            raise
        used, limit = (round(float(match[i]) * UNITS[match[i + 1]]) for i in (1, 3))
        return Program(content, "", used, limit, None, time.monotonic() - start)
    cost = compiled.cost_analysis() or {}
    return Program(
        content=content,
        text=compiled.as_text() or "",
        memory=held_bytes(compiled),
        limit=None,
        flops=cost.get("flops"),
        seconds=time.monotonic() - start,
    )


def content_of(lowered: jax.stages.Lowered, target: str) -> str:
    """A hash of all that decides what the compiler says: the program, its target, versions and options."""
    # Names of operations, too, since the breakdown is by them; but not the files and lines that stand beside them.
    names = sorted(set(re.findall(r'loc\("(jit\([^"]*)"', lowered.as_text(debug_info=True))))
    options = [os.environ.get(name, "") for name in ("LIBTPU_INIT_ARGS", "XLA_FLAGS")]
    given = [lowered.as_text(), *names, target, json.dumps(versions()), *options, *Program.__annotations__]
    return hashlib.sha256("\0".join(given).encode()).hexdigest()[:24]


@contextlib.contextmanager
def _nameless_files():
    """Keeps files and lines, which kernels carry inside them, out of a program: it is the same wherever this code lies."""
    limit = jax.config.jax_traceback_in_locations_limit
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)


@contextlib.contextmanager
def _alive(what: str, every: float = 20.0):
    """Says `what`, and that it goes on, until it is done."""
    start, done = time.monotonic(), threading.Event()

    def tell():
        while not done.wait(every):
            logger.info("still at it, %d s", time.monotonic() - start)

    logger.info(what)
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    logger.info("done in %d s", time.monotonic() - start)
