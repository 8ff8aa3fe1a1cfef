"""GPUs to plan for, which need not be attached: their public figures, and the form in which XLA's compiler takes them.

XLA compiles for a GPU from a description of it (`stream_executor.GpuTargetConfigProto` as text). No driver, no cuDNN and no
GPU is needed. gpus.json has a row per GPU, with its source; memory is what the driver offers to a program.
"""

import functools
import importlib.resources
import importlib.util
import json
import os
import re
from typing import NamedTuple

import jax

from biggan_jax.plan.target import GIB, NoCompilerError, quiet
from biggan_jax.types import UserError

INSTALL = "planning for GPUs needs XLA's compiler for them: pip install 'biggan-jax[plan-gpu]'"
EXAMPLES = "h100:8, a100-40:8, rtx4090:1, or h100:4x8 for 4 nodes of 8"
DNN = (9, 10, 0)  # The version of cuDNN whose calls are planned.
SHARE = 0.75
"""JAX takes this share of a GPU's memory when it starts, and no more later, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set."""

# By compute capability (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"): shared memory per
# multiprocessor and the most of it for a block, in KiB; threads per multiprocessor; float32 units per multiprocessor.
ARCHITECTURES = {
    "7.0": (96, 96, 2048, 64),
    "7.5": (64, 64, 1024, 64),
    "8.0": (164, 163, 2048, 64),
    "8.6": (100, 99, 1536, 128),
    "8.9": (100, 99, 1536, 128),
    "9.0": (228, 227, 2048, 128),
}


class Gpu(NamedTuple):
    """A GPU. memory: bytes that a program gets. half: FLOP/s in bfloat16 or float16; single: in float32 (TF32 where it has it)."""

    name: str
    device: str
    capability: str
    cores: int
    clock: float
    memory: int
    bandwidth: float
    l2: int
    half: float
    single: float
    source: str

    @property
    def usable(self) -> int:
        """Bytes that JAX takes of its memory, by XLA_PYTHON_CLIENT_MEM_FRACTION."""
        return int(self.memory * memory_share())

    @property
    def peak(self) -> float:
        """FLOP/s in half precision."""
        return self.half

    def rate(self, dtype: str) -> float:
        """FLOP/s of convolutions and products with operands of an HLO type such as bf16."""
        return self.half if dtype in ("bf16", "f16") else self.single


@functools.cache
def table() -> dict[str, Gpu]:
    """Return {name: GPU} of gpus.json."""
    rows = json.loads(importlib.resources.files("biggan_jax.plan").joinpath("gpus.json").read_text())
    of = lambda name, r: Gpu(
        name=name,
        device=r["device"],
        capability=r["capability"],
        cores=r["cores"],
        clock=r["clock_ghz"] * 1e9,
        memory=int(r["memory_gib"] * GIB),
        bandwidth=r["bandwidth_gb_s"] * 1e9,
        l2=r["l2_mib"] * 2**20,
        half=r["tflops_half"] * 1e12,
        single=r["tflops_float32"] * 1e12,
        source=r["source"],
    )
    return {name: of(name, row) for name, row in rows.items()}


def memory_share() -> float:
    """Return XLA_PYTHON_CLIENT_MEM_FRACTION, or JAX's default. Raises UserError if it is no share."""
    given = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
    try:
        share = float(given or SHARE)
    except ValueError:
        share = -1
    if not 0 < share <= 1:
        raise UserError(f"XLA_PYTHON_CLIENT_MEM_FRACTION={given} is not a number above 0 and at most 1, such as 0.9")
    return share


def is_gpu(topology: str) -> bool:
    """Return whether a topology begins with the name of a GPU, known or not: a name without digits in chips is a TPU's."""
    name = topology.partition(":")[0].lower()
    return name in table() or bool(
        re.match(r"(rtx|gtx|[abhlptv]\d{1,4}$|[ah]\d+[-_]|nvidia)", name) and not re.match(r"v[2-7]", name)
    )


def parse(topology: str) -> tuple[Gpu, int, int]:
    """Return (GPU, nodes, GPUs of a node) of NAME:N or NAME:NODESxN. Raises UserError."""
    name, _, count = topology.lower().partition(":")
    if name not in table():
        raise UserError(f"no GPU {name} is known for --topology={topology}; known are {', '.join(table())}")
    match = re.fullmatch(r"(?:([1-9]\d{0,3})x)?([1-9]\d{0,3})", count)
    if not match:
        raise UserError(f"--topology={topology} does not say how many GPUs; such as {EXAMPLES}")
    return table()[name], int(match[1] or 1), int(match[2])


def devices(topology: str) -> list[jax.Device]:
    """Return the devices of a topology such as h100:8. Raises UserError, NoCompilerError."""
    gpu, nodes, count = parse(topology)
    from jax.experimental import topologies

    if not has_compiler():
        raise NoCompilerError(INSTALL)
    with quiet():
        return list(
            topologies.get_topology_desc(
                platform="cuda", target_config=description(gpu), topology=f"1x{nodes}x{count}"
            ).devices
        )


def of(device: jax.Device) -> Gpu:
    """Return the GPU of a device that `devices` made."""
    return next(gpu for gpu in table().values() if gpu.device == device.device_kind)


def description(gpu: Gpu) -> str:
    """Return the GPU as XLA's compiler takes it: a GpuTargetConfigProto as text."""
    major, minor = gpu.capability.split(".")
    shared, most, threads, units = ARCHITECTURES[gpu.capability]
    accelerated = " feature_extension: ACCELERATED_FEATURES" if major == "9" else ""
    dnn = dict(zip(("major", "minor", "patch"), DNN, strict=True))
    info = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 48 * 1024,
        "shared_memory_per_core": shared * 1024,
        "shared_memory_per_block_optin": most * 1024,
        "threads_per_core_limit": threads,
        "core_count": gpu.cores,
        "fpus_per_core": units,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "memory_bandwidth": round(gpu.bandwidth),
        "l2_cache_size": gpu.l2,
        "clock_rate_ghz": gpu.clock / 1e9,
        "device_memory_size": gpu.memory,
        "driver_version": '"13.0.0"',
        "runtime_version": '"12.8.0"',
        "compile_time_toolkit_version": '"12.8.0"',
        "dnn_version": f'"{".".join(map(str, DNN))}"',
    }
    fields = "\n".join(f"  {name}: {value}" for name, value in info.items())
    capability = f"  cuda_compute_capability {{ major: {major} minor: {minor}{accelerated} }}"
    version = " ".join(f"{name}: {value}" for name, value in dnn.items())
    return (
        f'gpu_device_info {{\n{fields}\n{capability}\n}}\nplatform_name: "CUDA"\n'
        f'dnn_version_info {{ {version} }}\ndevice_description_str: "{gpu.device}"\n'
    )


def has_compiler() -> bool:
    """Return whether jax's plugin for CUDA is installed, of any version."""
    if not importlib.util.find_spec("jax_plugins"):
        return False
    import jax_plugins

    names = "xla_cuda12", "xla_cuda13"
    return any(os.path.isdir(os.path.join(folder, name)) for folder in jax_plugins.__path__ for name in names)
