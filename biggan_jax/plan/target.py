"""The devices of a plan, which need not be attached: TPU chips with their memory and rates, simulated CPU devices."""

import os
import re
from typing import Any, NamedTuple

import jax

from biggan_jax.types import UserError

GIB = 2**30


class Chip(NamedTuple):
    """One device as JAX counts them: one core of a chip on TPU v2, v3 and 7x, the whole chip on the others.

    memory: HBM in bytes. flops_per_cycle: of the matrix units in bfloat16, a multiply-add counted as two. clock: in Hz.
    """

    memory: int
    flops_per_cycle: int
    clock: float

    @property
    def peak(self) -> float:
        """FLOP/s in bfloat16."""
        return self.flops_per_cycle * self.clock


CHIPS = {
    "TPU v2": Chip(8 * GIB, 2**15, 0.70e9),
    "TPU v3": Chip(16 * GIB, 2**16, 0.94e9),
    "TPU v4": Chip(32 * GIB, 2**18, 1.05e9),
    "TPU v5 lite": Chip(16 * GIB, 2**17, 1.50e9),
    "TPU v5": Chip(95 * GIB, 2**18, 1.75e9),
    "TPU v6 lite": Chip(32 * GIB, 2**19, 1.75e9),
    "TPU7x": Chip(96 * GIB, 2**19, 2.20e9),
}
CHIPS |= {"TPU v5e": CHIPS["TPU v5 lite"], "TPU v5p": CHIPS["TPU v5"], "TPU v6e": CHIPS["TPU v6 lite"]}
"""{device_kind of JAX: chip}. Memory and peak are the figures that Google Cloud publishes (46, 123, 275, 197, 459, 918 and 2,307
bfloat16 TFLOP/s per chip). Clocks of v2 to v4: Jouppi et al. 2020 and 2023; of the others: peak over operations per cycle."""


def chip_of(device) -> Chip:
    """Return the chip of a JAX device. Raises UserError if the chip is not in the table."""
    if device.device_kind in CHIPS:
        return CHIPS[device.device_kind]
    raise UserError(f"no figures are known for {device.device_kind}; known are {', '.join(CHIPS)}")


class NoCompilerError(UserError):
    """The TPU compiler is not installed, or this JAX cannot use it."""


def tpu_devices(topology: str) -> list[jax.Device]:
    """Return the devices of a TPU slice such as v5e:16x16, as libtpu describes them. Raises UserError, NoCompilerError."""
    # Without these, libtpu queries a metadata server, and refuses to load in a second process.
    os.environ["TPU_SKIP_MDS_QUERY"] = os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    try:
        import libtpu  # noqa: F401
        from jax.experimental import topologies
    except ImportError as error:
        raise NoCompilerError("planning for TPUs needs their compiler: pip install 'biggan-jax[plan]'") from error
    if jax.__version_info__ < (0, 8):
        # Older versions crash after compiling, as they query layouts from devices that are not attached.
        raise NoCompilerError(f"planning for TPUs needs jax 0.8 or newer; this is jax {jax.__version__}")
    # On Cloud TPU, the two cores of a v4 chip are one device.
    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
    if shape := re.fullmatch(r"\w+:(\d+)x(\d+)(x\d+)?", topology):
        # A host has 2x2 chips, or all chips of a smaller slice.
        options["chips_per_host_bounds"] = (min(int(shape[1]), 2), min(int(shape[2]), 2), 1)
    try:
        with quiet():
            return list(topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices)
    except Exception as error:  # JAX raises no narrower class.
        reason = str(error).partition(": ")[2] or str(error)
        hint = "give VERSION:SHAPE in chips, such as v3:8x8, v4:4x4x4, v5e:16x16, v5p:4x4x4, v6e:16x16, tpu7x:4x4x4"
        raise UserError(f"the TPU compiler refuses --topology={topology} ({reason}); {hint}") from error


def cpu_devices(wanted: str) -> list[jax.Device]:
    """Return N simulated devices for cpu:N. Call before JAX makes its first array. Raises UserError."""
    match = re.fullmatch(r"cpu:([1-9]\d*)", wanted)
    if not match:
        raise UserError(f"--devices={wanted} is not cpu:N, such as cpu:8")
    jax.config.update("jax_num_cpu_devices", int(match[1]))
    return jax.devices("cpu")


class quiet:
    """Silence file descriptor 2, where libtpu reports that it finds no TPU."""

    def __enter__(self) -> None:
        self._kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *_) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
