"""GPUs to plan for, which need not be attached: the form in which XLA's compiler takes them.

XLA compiles for a GPU from a description of it (`stream_executor.GpuTargetConfigProto` as text). No driver, no cuDNN and no
GPU is needed.
"""

import importlib.resources
import importlib.util
import os

import jax

from biggan_jax.plan.gpu_table import Gpu, parse, table
from biggan_jax.plan.target import NoCompilerError, quiet

INSTALL = "planning for GPUs needs XLA's compiler for them: pip install 'biggan-jax[plan-gpu]'"
DNN = (9, 10, 0)  # The version of cuDNN whose calls are planned.

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
