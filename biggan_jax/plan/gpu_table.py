"""The public figures of GPUs, and topologies of GPUs by name. It imports no jax.

gpus.json has a row per GPU, with its source; memory is what the driver offers to a program. Rows with a peak alone are of GPUs
that are not planned for.
"""

import functools
import importlib.resources
import json
import os
import re
from typing import NamedTuple

from biggan_jax.errors import UserError

EXAMPLES = "h100:8, a100-40:8, rtx4090:1, or h100:4x8 for 4 nodes of 8"
SHARE = 0.75
"""JAX takes this share of a GPU's memory when it starts, and no more later, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set."""


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
    """Return {name: GPU} of those that are planned for."""
    of = lambda name, r: Gpu(
        name=name,
        device=r["device"],
        capability=r["capability"],
        cores=r["cores"],
        clock=r["clock_ghz"] * 1e9,
        memory=int(r["memory_gib"] * 2**30),
        bandwidth=r["bandwidth_gb_s"] * 1e9,
        l2=r["l2_mib"] * 2**20,
        half=r["tflops_half"] * 1e12,
        single=r["tflops_float32"] * 1e12,
        source=r["source"],
    )
    return {name: of(name, row) for name, row in _rows().items() if "cores" in row}


def peak_of(kind: str) -> tuple[float, str] | None:
    """Return FLOP/s in half precision of a device kind of jax, and the GPU's name for it; None if it is unknown.

    A GPU in a form without a row, such as an A100 for PCIe, has the peak of another form.
    """
    peaks = {row["device"]: row["tflops_half"] * 1e12 for row in _rows().values()}
    model = re.match(r"\w+ (?:GeForce RTX )?\w+", kind)
    known = [device for device in peaks if re.match(rf"{re.escape(device)}\b", kind)] or [
        device for device in peaks if model and re.match(rf"{re.escape(model[0])}\b", device)
    ]
    return (peaks[known[0]], known[0]) if known else None


def _rows() -> dict[str, dict]:
    return json.loads(importlib.resources.files("biggan_jax.plan").joinpath("gpus.json").read_text())


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
