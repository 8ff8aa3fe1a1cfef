"""Owns the devices for which a plan is made, none of which need be there. Must not know what is planned."""

import os
import re
from typing import Any

import jax

from biggan_jax.types import UserError


class NoCompilerError(UserError):
    """The TPU compiler is not installed, or of no use to this jax."""


def tpu_devices(topology: str) -> list[jax.Device]:
    """The devices of a TPU slice such as v5e:16x16, described by libtpu, with no TPU at hand. Raises UserError, NoCompilerError."""
    # Else libtpu asks a metadata server, and refuses to be loaded by two processes.
    os.environ["TPU_SKIP_MDS_QUERY"] = os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    try:
        import libtpu  # noqa: F401
        from jax.experimental import topologies
    except ImportError as error:
        raise NoCompilerError("planning for TPUs needs their compiler: pip install 'biggan-jax[plan]'") from error
    if jax.__version_info__ < (0, 8):
        # It dies of a segmentation fault once the step is compiled, as it asks for the layouts of devices that are not there.
        raise NoCompilerError(f"planning for TPUs takes jax 0.8 or newer, and this is {jax.__version__}")
    # A v4 chip's two cores work as one device, as they do on Cloud TPU.
    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
    if shape := re.fullmatch(r"\w+:(\d+)x(\d+)(x\d+)?", topology):
        # A host has 2x2 chips, unless there are fewer.
        options["chips_per_host_bounds"] = (min(int(shape[1]), 2), min(int(shape[2]), 2), 1)
    try:
        with _quiet():
            return list(topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices)
    except Exception as error:  # jax has no narrower class for it.
        reason = str(error).partition(": ")[2] or str(error)
        raise UserError(
            f"--topology={topology} is refused by the TPU compiler ({reason}); it is VERSION:SHAPE in chips, such as "
            "v3:8x8, v4:4x4x4, v5e:16x16, v5p:4x4x4, v6e:16x16, tpu7x:4x4x4"
        ) from error


def cpu_devices(wanted: str) -> list[jax.Device]:
    """Simulated devices on this machine: `cpu:8` is eight. To be asked for before jax's first array. Raises UserError."""
    match = re.fullmatch(r"cpu:([1-9]\d*)", wanted)
    if not match:
        raise UserError(f"--devices={wanted} is not cpu:N, such as cpu:8")
    jax.config.update("jax_num_cpu_devices", int(match[1]))
    return jax.devices("cpu")


class _quiet:
    """Silences what libtpu writes to file descriptor 2 as it looks in vain for a TPU."""

    def __enter__(self) -> None:
        self._kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *_) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
