"""Channel tables of BigGAN and BigGAN-deep (Brock et al. 2019, App. B, Tables 4-9).

Both families use the same table. A block of BigGAN is a stage of several blocks in BigGAN-deep, and the stem of
BigGAN-deep's D has the channels of the first block of BigGAN's D. Difference from the printed tables, as in every
implementation and as the paper's parameter counts require: D's first block maps 3 to ch channels, and no 16ch block halves
the resolution further.
"""

from typing import NamedTuple

import ml_collections

from biggan_jax.config import choose
from biggan_jax.types import UserError


class Widths(NamedTuple):
    """Channels in multiples of ch: of G's first layer and of each stage's output; of the output of each of D's stages."""

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


STUDIOGAN = WIDTHS | {64: Widths((16, 8, 4, 2, 1), WIDTHS[64].discriminator)}
"""StudioGAN's."""


def widths_of(resolution: int, table: str = "paper", *, deep: bool = False) -> Widths:
    """Return the channels of a resolution. table: paper or studiogan. deep: of BigGAN-deep."""
    if table == "paper":
        return WIDTHS[resolution]
    widths = STUDIOGAN[resolution]
    return widths._replace(discriminator=(2, 2, 2, 2)) if resolution == 32 and not deep else widths


def smallest_size(resolution: int) -> int:
    """Return the height in pixels at which D's stages stop halving the resolution."""
    return 8 if resolution == 32 else 4


def generator_sizes(resolution: int) -> list[int]:
    """Return the height in pixels of the output of each of G's stages."""
    return [8 * 2**i for i in range(len(WIDTHS[resolution].generator) - 1)]


def discriminator_sizes(resolution: int, family: str) -> list[int]:
    """Return the height in pixels of the output of each of D's stages."""
    stages = len(WIDTHS[resolution].discriminator) - (family == "biggan_deep")
    return [max(resolution // 2 ** (i + 1), smallest_size(resolution)) for i in range(stages)]


def check_widths(model: ml_collections.ConfigDict, least: int) -> Widths:
    """Return the row of WIDTHS for the config.

    Raises:
        UserError: the resolution is unknown, no feature map has the size of an attention layer, or ch is too small. A
            convolution needs `least` channels; attention needs 8, since its queries have an eighth of them.
    """
    choose(WIDTHS, "model.resolution", model.resolution)
    widths = widths_of(model.resolution, model.widths, deep=model.family == "biggan_deep")
    g_sizes, d_sizes = generator_sizes(model.resolution), discriminator_sizes(model.resolution, model.family)
    # BigGAN-deep's D begins with a stem at full resolution; the widths of its stages follow.
    d_widths = widths.discriminator[-len(d_sizes) :]
    for network, sizes, table in (("g", g_sizes, widths.generator[1:]), ("d", d_sizes, d_widths)):
        ch = model[f"{network}_ch"] or model.ch
        if ch < least:
            raise UserError(f"model.ch {ch} is too small; model.family {model.family} needs at least {least}")
        found = dict(zip(sizes, table, strict=False))
        for size in model[f"{network}_attention"]:
            if size not in found:
                known = ", ".join(map(str, found))
                raise UserError(
                    f"model.{network}_attention {size} is no size of {network.upper()}'s feature maps at "
                    f"{model.resolution} pixels, which are {known}"
                )
            if found[size] * ch < 8:
                raise UserError(f"model.ch {ch} is too small for attention at {size}, which needs 8 channels")
    return widths
