"""Memory, operations per cycle and clock rate of TPU chips."""

from typing import NamedTuple

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
