"""Owns the channel tables of BigGAN and BigGAN-deep (Brock et al. 2019, App. B, Tables 4-9). Must not know layers.

One table serves both families: what is a block for BigGAN is a stage of several blocks for BigGAN-deep, and D-deep's stem
has the channels of D's first block. Departs from the printed tables as every implementation does, and as the paper's own
parameter counts demand: D's first block goes from 3 to ch channels, and no 16ch block ends in a further halving.
"""

from typing import NamedTuple


class Widths(NamedTuple):
    """Channels, in multiples of ch. G: its first layer, then each stage's output. D: its first stage's output and on."""

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]


# 128 to 512 are the paper's; 32 and 64 are BigGAN-PyTorch's; 16 is ours, for small digits.
WIDTHS = {
    16: Widths((4, 4, 4), (2, 4, 4)),
    32: Widths((4, 4, 4, 4), (4, 4, 4, 4)),
    64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16)),
    256: Widths((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16)),
    512: Widths((16, 16, 8, 8, 4, 2, 1, 1), (1, 1, 2, 4, 8, 8, 16, 16)),
}


def smallest_size(resolution: int) -> int:
    """The height in pixels down to which D halves its picture; what stages remain keep it."""
    return 8 if resolution == 32 else 4
