"""Owns what a TPU can hold and do: memory, operations a cycle, clock. Must not know programs."""

from typing import NamedTuple

from biggan_jax.types import UserError

GIB = 2**30


class Chip(NamedTuple):
    """Of one device as jax counts them: a chip's core on TPU v2, v3 and 7x, the whole chip on the others.

    memory: HBM in bytes. flops_per_cycle: bfloat16 multiply-adds of its matrix units, counted as two. clock: in Hz.
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
"""By jax's device_kind. Memory and peak are Google Cloud's published ones of each version (46, 123, 275, 197, 459, 918 and
2,307 bfloat16 TFLOP/s a chip); clocks of v2 to v4 are those of Jouppi et al. 2020 and 2023, the others peak by operations."""


def chip_of(device) -> Chip:
    """The chip of a jax device. Raises UserError if there are no figures for it."""
    if device.device_kind in CHIPS:
        return CHIPS[device.device_kind]
    raise UserError(f"there are no figures for {device.device_kind}; known are {', '.join(CHIPS)}")
