"""SAGAN: SNGAN's ResNets with self-attention, and spectral norm in both networks (Zhang et al. 2019; their code).

At 128 pixels attention follows the feature maps of 32 pixels in G (256 channels) and in D (128). D's blocks have the
channels of their output from the first convolution on. StudioGAN puts attention at 64 pixels, and
normalises the weights of conditional batch norm, too (g_spectral_tables). Adam's rates differ (TTUR): 1e-4
for G, 4e-4 for D, one update each.
"""

import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.models import sngan


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError."""
    return sngan.build(config, mesh)
