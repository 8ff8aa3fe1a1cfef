"""SAGAN: SNGAN's ResNets with self-attention, and spectral norm in both networks (Zhang et al. 2019; their code).

At 128 pixels attention follows the feature maps of 32 pixels in G (256 channels) and in D (128). D's blocks have the
channels of their output from the first convolution on. StudioGAN puts attention at 64 pixels. Adam's rates differ (TTUR): 1e-4
for G, 4e-4 for D, one update each.
"""

import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.models import adversarial, sngan
from biggan_jax.types import UserError


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError for attention at a size that no feature map has."""
    model = config.model
    height = sngan.check_shape(config)[0]
    table = sngan.WIDTHS[height]
    sizes = {
        "g": [height >> i for i in reversed(range(len(table.generator)))],
        "d": [height >> i + 1 for i in range(table.pools)],
    }
    for name, known in sizes.items():
        for size in model[f"{name}_attention"]:
            if size not in known:
                raise UserError(
                    f"model.{name}_attention {size} is no size of {name.upper()}'s feature maps, which are "
                    f"{', '.join(map(str, known))}"
                )
    generator, discriminator = sngan.networks(config)
    return adversarial.build(config, mesh, generator, discriminator, image_shape=generator.shape)
