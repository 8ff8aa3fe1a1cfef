"""Measure one training step: compile it once, run it many times, count its FLOPs."""

import dataclasses
import functools
import importlib.metadata
import os
import platform
import statistics
import time
from typing import Any

import jax
import ml_collections
import numpy as np
import trace_kernels as trace

from biggan_jax import sharding
from biggan_jax.data import builtin, host_batches, image_shape
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, compiler_options, state_layout
from biggan_jax.plan import gpu_table, program, report
from biggan_jax.plan.target import CHIPS
from biggan_jax.state import init_state
from biggan_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Step:
    """A compiled training step with its inputs."""

    compiled: jax.stages.Compiled
    state: Any
    batch: Any
    compile_seconds: float


def prepare(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Step:
    """Compile the training step, with a fresh state and noise as data, both already on the devices."""
    gan = build_gan(config, mesh)
    source = builtin.fake(image_shape(config), config.model.num_classes, count=min(1024, config.batch_size))
    batch = sharding.shard_batch(host_batches(source, config, attempt=0)(0)[0], mesh)
    state = jax.jit(functools.partial(init_state, gan), out_shardings=state_layout(gan))(config.seed)
    lowered = compile_step(gan).lower(state, batch)
    began = time.perf_counter()
    compiled = lowered.compile()
    return Step(compiled, state, batch, time.perf_counter() - began)


def time_steps(step: Step, warmup: int, steps: int) -> tuple[list[float], Any]:
    """Return the seconds of each of `steps` steps after `warmup` others, and the state after them.

    As in training, the next step is dispatched while one runs. Deletes the state of `step`.
    """
    state, finished, running = step.state, [], None
    for _ in range(warmup + steps + 1):
        state, metrics = step.compiled(state, step.batch)
        if running is not None:
            jax.block_until_ready(running)
            finished.append(time.perf_counter())
        running = metrics
    jax.block_until_ready(running)
    return list(np.diff([*finished, time.perf_counter()])[-steps:]), state


def peak_memory(compiled: jax.stages.Compiled, device: jax.Device) -> tuple[int | None, str]:
    """Return (peak bytes of one device, the source of the figure)."""
    stats = device.memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"], "the device's statistics since the process started"
    planned = program.memory_bytes(compiled)
    if planned is None:
        return None, "unknown to the device and to the compiler"
    return planned, "the compiler's plan: arguments, outputs and temporaries, aliased ones once"


def peak_flops(device: jax.Device, stated: float | None) -> tuple[float | None, str]:
    """Return (peak FLOP/s of one device, the source of the figure)."""
    if stated:
        return stated, "--peak"
    if device.device_kind in CHIPS:
        return CHIPS[device.device_kind].peak, f"{device.device_kind}'s matrix units and clock"
    if found := gpu_table.peak_of(device.device_kind):
        flops, name = found
        return flops, f"{name}'s dense peak in half precision as stated by its maker"
    return None, f"unknown for {device.device_kind}: give --peak"


def measure(
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
    *,
    warmup: int,
    steps: int,
    peak: float | None = None,
    kernels: str | None = None,
) -> dict[str, Any]:
    """Measure one training step of the config on the mesh; write its kernels to the file `kernels`, if given."""
    device = mesh.devices.flat[0]
    flops = program.useful_work(config).mean
    step = prepare(config, mesh)
    seconds, state = time_steps(step, warmup, steps)
    step_seconds = statistics.median(seconds)
    if kernels:
        trace.write(trace.kernels(lambda: step.compiled(state, step.batch)), kernels)
    memory, memory_source = peak_memory(step.compiled, device)
    peak, peak_source = peak_flops(device, peak)
    return {
        "step_seconds": step_seconds,
        "step_seconds_fastest": min(seconds),
        "step_seconds_slowest": max(seconds),
        "steps_warmup": warmup,
        "steps_timed": steps,
        "images_per_second": config.d_steps * config.batch_size / step_seconds,
        "compile_seconds": step.compile_seconds,
        "useful_flops": flops,
        "mfu": flops / step_seconds / (peak * mesh.size) if peak else None,
        "peak_flops_per_device": peak,
        "peak_flops_source": peak_source,
        "peak_memory_bytes": memory,
        "peak_memory_source": memory_source,
        "batch_size": config.batch_size,
        "d_steps": config.d_steps,
        "resolution": config.model.resolution,
        "devices": mesh.size,
    }


def estimate(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, target: str) -> dict[str, Any]:
    """Return the compiler's estimate for one step on the mesh's devices, which need not be attached."""
    compiled = program.compile(program.lower(config, mesh), target, compiler_options(mesh))
    devices = list(mesh.devices.flat)
    plan = report.figures(config, devices, target, program.state_bytes(config, mesh), compiled)
    if plan["estimated_step_seconds"] is None:
        raise UserError(f"batch_size {config.batch_size} at {config.model.resolution} pixels does not fit {target}")
    return {
        "estimated": True,
        "step_seconds": plan["estimated_step_seconds"],
        "step_cycles": plan["estimated_cycles_per_device"],
        "images_per_second": config.d_steps * config.batch_size / plan["estimated_step_seconds"],
        "compile_seconds": compiled.seconds,
        "useful_flops": plan["useful_flops_per_device"],
        "mfu": plan["estimated_mfu"],
        "peak_memory_bytes": plan["hbm_bytes_per_device"],
        "batch_size": config.batch_size,
        "resolution": config.model.resolution,
    }


def environment() -> dict[str, Any]:
    """Return the device, machine and versions of this process."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    device = jax.local_devices()[0]
    return {
        "device_kind": device.device_kind,
        "platform": device.platform,
        "machine": platform.machine(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {"python": platform.python_version(), **versions},
    }
