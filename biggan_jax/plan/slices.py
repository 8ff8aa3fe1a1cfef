"""Owns what Google Cloud calls its TPU slices, and how each is laid out. Must not know plans.

`python -m biggan_jax.plan.slices v5litepod-256` prints a slice's fields for the launchers.
"""

import math
import sys
from typing import NamedTuple

from biggan_jax.types import UserError


class Version(NamedTuple):
    """Of TPU. Names of slices are `prefix`-N, where each chip counts as `cores`. shapes: those that have a name, in chips.

    runtime: the image of Cloud TPU's machines, "" where there are none. accelerator: the label of GKE's nodes, "" likewise.
    """

    prefix: str
    cores: int
    shapes: str
    runtime: str
    accelerator: str


FLAT = "1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16"
CUBES = "2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16"
VERSIONS = {
    "v3": Version("v3", 2, "2x2 4x4 4x8 8x8 8x16 16x16 16x32 32x32", "tpu-ubuntu2204-base", ""),
    "v4": Version("v4", 2, CUBES, "tpu-ubuntu2204-base", "tpu-v4-podslice"),
    "v5e": Version("v5litepod", 1, FLAT, "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice"),
    "v5p": Version("v5p", 2, CUBES, "v2-alpha-tpuv5", "tpu-v5p-slice"),
    "v6e": Version("v6e", 1, FLAT, "v2-alpha-tpuv6e", "tpu-v6e-slice"),
    "tpu7x": Version("tpu7x", 2, CUBES, "", "tpu7x"),
}
"""By the name that the compiler's topologies have. From Google Cloud's documentation of TPU versions, runtimes and GKE labels."""


class Slice(NamedTuple):
    """type: Cloud TPU's and xpk's name of it. topology: the compiler's. hosts: of GKE, of four chips each unless there is one chip."""

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


def _of(name: str, shape: str) -> Slice:
    version = VERSIONS[name]
    chips = math.prod(map(int, shape.split("x")))
    hosts = max(1, chips // 4)
    return Slice(f"{version.prefix}-{chips * version.cores}", name, shape, chips, hosts, *version[3:])


SLICES = {slice_.type: slice_ for name in VERSIONS for slice_ in (_of(name, s) for s in VERSIONS[name].shapes.split())}


def named(name: str) -> Slice:
    """The slice of an accelerator type, such as v4-128, or of a topology, such as v4:4x4x4. Raises UserError."""
    for slice_ in SLICES.values():
        if name in (slice_.type, slice_.topology):
            return slice_
    family = name.partition("-")[0]  # Cloud TPU's word for it, or the planner's.
    alike = [known for known, slice_ in SLICES.items() if family in (known.partition("-")[0], slice_.version)]
    known = ", ".join(alike) if alike else "v4-N, v5litepod-N, v5p-N, v6e-N and tpu7x-N"
    raise UserError(f"{name} is no TPU slice with a name; such are {known}")


def main() -> None:
    """Prints type, topology, shape, chips, hosts, accelerator and runtime in one line, - for what there is not."""
    try:
        if len(sys.argv) != 2:
            raise UserError("one slice is needed, such as v5litepod-256")
        slice_ = named(sys.argv[1])
    except UserError as error:
        print(f"slices: error: {error}", file=sys.stderr)
        raise SystemExit(error.status) from error
    fields = slice_.type, slice_.topology, slice_.shape, slice_.chips, slice_.hosts, slice_.accelerator, slice_.runtime
    print(*(field or "-" for field in fields))


if __name__ == "__main__":
    main()
