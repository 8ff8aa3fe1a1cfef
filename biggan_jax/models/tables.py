"""Owns the channel tables of BigGAN and BigGAN-deep (Brock et al. 2019, App. B, Tables 4-9). Must not know layers.

One table serves both families: what is a block for BigGAN is a stage of several blocks for BigGAN-deep, and D-deep's stem
has the channels of D's first block. Departs from the printed tables as every implementation does, and as the paper's own
parameter counts demand: D's first block goes from 3 to ch channels, and no 16ch block ends in a further halving.
"""

from typing import NamedTuple

import ml_collections

from biggan_jax.config import choose
from biggan_jax.types import UserError


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


def generator_sizes(resolution: int) -> list[int]:
    """The height in pixels of what each of G's stages makes."""
    return [8 * 2**i for i in range(len(WIDTHS[resolution].generator) - 1)]


def discriminator_sizes(resolution: int, family: str) -> list[int]:
    """The height in pixels of what each of D's stages makes."""
    stages = len(WIDTHS[resolution].discriminator) - (family == "biggan_deep")
    return [max(resolution // 2 ** (i + 1), smallest_size(resolution)) for i in range(stages)]


def check_widths(model: ml_collections.ConfigDict, least: int) -> Widths:
    """The config's row of WIDTHS. Raises UserError for a resolution or a place of attention that is not there, or for
    too small a ch: a convolution needs `least` channels, attention 8, of which its queries have an eighth."""
    widths = choose(WIDTHS, "model.resolution", model.resolution)
    g_sizes, d_sizes = generator_sizes(model.resolution), discriminator_sizes(model.resolution, model.family)
    # BigGAN-deep's D begins with a stem at full size; its stages have the widths that follow.
    d_widths = widths.discriminator[-len(d_sizes) :]
    for player, sizes, table in (("g", g_sizes, widths.generator[1:]), ("d", d_sizes, d_widths)):
        ch = model[f"{player}_ch"] or model.ch
        if ch < least:
            raise UserError(f"model.ch {ch} is too small; model.family {model.family} needs at least {least}")
        found = dict(zip(sizes, table, strict=False))
        for size in model[f"{player}_attention"]:
            if size not in found:
                known = ", ".join(map(str, found))
                raise UserError(
                    f"model.{player}_attention {size} is no size of {player.upper()}'s feature maps at "
                    f"{model.resolution} pixels, which are {known}"
                )
            if found[size] * ch < 8:
                raise UserError(f"model.ch {ch} is too small for attention at {size}, which needs 8 channels")
    return widths
