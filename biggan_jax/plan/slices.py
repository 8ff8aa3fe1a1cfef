"""Names and layouts of Google Cloud's TPU slices.

`python -m biggan_jax.plan.slices v5litepod-256` prints a slice's fields for the launchers.
"""

import math
import sys
from typing import NamedTuple

from biggan_jax.errors import UserError
from biggan_jax.runtime import startup

FLAT = "1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16"
CUBES = "2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16"
VERSIONS = {
    "v3": ("v3", 2, "2x2 4x4 4x8 8x8 8x16 16x16 16x32 32x32", "tpu-ubuntu2204-base", ""),
    "v4": ("v4", 2, CUBES, "tpu-ubuntu2204-base", "tpu-v4-podslice"),
    "v5e": ("v5litepod", 1, FLAT, "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice"),
    "v5p": ("v5p", 2, CUBES, "v2-alpha-tpuv5", "tpu-v5p-slice"),
    "v6e": ("v6e", 1, FLAT, "v2-alpha-tpuv6e", "tpu-v6e-slice"),
    "tpu7x": ("tpu7x", 2, CUBES, "", "tpu7x"),
}
"""{version in the compiler's topologies: (prefix, N of a chip, named shapes in chips, runtime, accelerator)}.

From Google Cloud's documentation of TPU versions, runtimes and GKE labels. A slice's name is prefix-N. runtime: the image of
Cloud TPU's machines. accelerator: the label of GKE's nodes. "": none.
"""


class Slice(NamedTuple):
    """type: its name in Cloud TPU and xpk. topology: its name in the compiler. hosts: GKE's, with four chips each, or fewer in all."""

    type: str
    version: str
    shape: str
    chips: int
    hosts: int
    runtime: str
    accelerator: str

    @property
    def topology(self) -> str:
        return f"{self.version}:{self.shape}"


def _slice(version: str, shape: str) -> Slice:
    prefix, cores, _, *labels = VERSIONS[version]
    chips = math.prod(map(int, shape.split("x")))
    return Slice(f"{prefix}-{chips * cores}", version, shape, chips, max(1, chips // 4), *labels)


SLICES = {found.type: found for name, row in VERSIONS.items() for found in (_slice(name, s) for s in row[2].split())}


def named(name: str) -> Slice:
    """Return the slice of an accelerator type, such as v4-128, or a topology, such as v4:4x4x4. Raises UserError."""
    for slice_ in SLICES.values():
        if name in (slice_.type, slice_.topology):
            return slice_
    family = name.partition("-")[0]  # In Cloud TPU's or the compiler's naming.
    alike = [known for known, slice_ in SLICES.items() if family in (known.partition("-")[0], slice_.version)]
    known = ", ".join(alike) if alike else "v4-N, v5litepod-N, v5p-N, v6e-N and tpu7x-N"
    raise UserError(f"{name} is not the name of a TPU slice; known are {known}")


def main() -> None:
    """Print type, topology, shape, chips, hosts, accelerator and runtime in one line, - for a missing one."""
    try:
        if len(sys.argv) != 2:
            raise UserError("give one slice, such as v5litepod-256")
        slice_ = named(sys.argv[1])
    except UserError as error:
        print(f"slices: error: {error}", file=sys.stderr)
        raise SystemExit(error.status) from error
    fields = slice_.type, slice_.topology, slice_.shape, slice_.chips, slice_.hosts, slice_.accelerator, slice_.runtime
    with startup.ends_with_its_reader():
        print(*(field or "-" for field in fields))


if __name__ == "__main__":
    main()
