"""Owns how one training round is measured: compiled once, run many times, its work counted. Must not know flags, files or sweeps."""

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

from biggan_jax import sharding
from biggan_jax.data import fake, host_batches
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, state_layout
from biggan_jax.plan import program, report
from biggan_jax.plan.chips import CHIPS
from biggan_jax.state import init_state
from biggan_jax.types import UserError

PEAK_FLOPS = {
    "NVIDIA B200": 2250e12,  # NVIDIA's Blackwell data sheet (half of the figure with sparsity).
    "NVIDIA H200": 989.5e12,  # NVIDIA's H200 data sheet, SXM; likewise.
    "NVIDIA H100 PCIe": 756e12,  # NVIDIA's H100 data sheet; likewise.
    "NVIDIA H100 NVL": 835.5e12,  # The same.
    "NVIDIA H100": 989.5e12,  # The same, SXM.
    "NVIDIA A100": 312e12,  # NVIDIA's A100 data sheet.
    "NVIDIA L4": 121e12,  # NVIDIA's L4 data sheet; half of the figure with sparsity.
}
"""Dense bfloat16 FLOP/s of one GPU as its maker states it, by the beginning of `device_kind`; the first that fits counts."""


@dataclasses.dataclass(frozen=True)
class Round:
    """A compiled round with what it is run on."""

    compiled: jax.stages.Compiled
    state: Any
    batch: Any
    compile_seconds: float


def prepare(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Round:
    """The round that training runs, compiled, with a fresh state and noise for data: made once, and already on the devices."""
    gan = build_gan(config, mesh)
    source = fake.images(config.model.resolution, config.model.num_classes, count=min(1024, config.batch_size))
    batch = sharding.shard_batch(host_batches(source, config, attempt=0)(0)[0], mesh)
    state = jax.jit(functools.partial(init_state, gan), out_shardings=state_layout(gan))(config.seed)
    lowered = compile_step(gan).lower(state, batch)
    began = time.perf_counter()
    compiled = lowered.compile()
    return Round(compiled, state, batch, time.perf_counter() - began)


def time_rounds(game: Round, warmup: int, rounds: int) -> list[float]:
    """Seconds of each of `rounds` rounds after `warmup` others. As in training, the next is dispatched while one runs.

    The game's state is given up.
    """
    state, finished, running = game.state, [], None
    for _ in range(warmup + rounds + 1):
        state, metrics = game.compiled(state, game.batch)
        if running is not None:
            jax.block_until_ready(running)
            finished.append(time.perf_counter())
        running = metrics
    jax.block_until_ready(running)
    return list(np.diff([*finished, time.perf_counter()])[-rounds:])


def peak_memory(compiled: jax.stages.Compiled, device: jax.Device) -> tuple[int | None, str]:
    """(bytes that one device held at most, where the figure is from)."""
    stats = device.memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"], "the device's own statistics, since the process began"
    held = program.memory_bytes(compiled)
    if held is None:
        return None, "unknown: neither the device nor the compiler says it"
    return held, "the compiler's plan: arguments, outputs, temporaries, less what is aliased"


def peak_flops(device: jax.Device, stated: float | None) -> tuple[float | None, str]:
    """(FLOP/s that one device can reach at best, where the figure is from)."""
    if stated:
        return stated, "--peak"
    if device.device_kind in CHIPS:
        return CHIPS[device.device_kind].peak, f"{device.device_kind}'s matrix units and clock"
    for kind, flops in PEAK_FLOPS.items():
        if device.device_kind.startswith(kind):
            return flops, f"{kind}'s dense bfloat16 peak as stated by its maker"
    return None, f"unknown for {device.device_kind}: give --peak"


def measure(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, *, warmup: int, rounds: int, peak: float | None = None
) -> dict[str, Any]:
    """What one round of the config's game costs on the mesh."""
    device = mesh.devices.flat[0]
    flops = program.useful_flops(config)
    game = prepare(config, mesh)
    seconds = time_rounds(game, warmup, rounds)
    step_seconds = statistics.median(seconds)
    memory, memory_source = peak_memory(game.compiled, device)
    peak, peak_source = peak_flops(device, peak)
    return {
        "step_seconds": step_seconds,
        "step_seconds_fastest": min(seconds),
        "step_seconds_slowest": max(seconds),
        "rounds_warmup": warmup,
        "rounds_timed": rounds,
        "images_per_second": config.d_steps * config.batch_size / step_seconds,
        "compile_seconds": game.compile_seconds,
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
    """What one round would cost on the mesh's devices, which need not be there, by their compiler's estimate."""
    compiled = program.compile(program.lower(config, mesh), target)
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
    """On what, and with which versions, this process measures."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    device = jax.local_devices()[0]
    return {
        "device_kind": device.device_kind,
        "platform": device.platform,
        "machine": platform.machine(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {"python": platform.python_version(), **versions},
    }
