"""BigGAN-deep at 128x128 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN-deep 128: FID 7.4, IS 166.5 at the truncation of its headline (Brock et al. 2019, abstract).
Hardware:  the paper's: TPU v3-128 (from notes). With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_deep_imagenet128 --workdir=gs://BUCKET/deep128 --multihost

G ends in the padded RGB convolution of the released graph, which gives it the paper's number of parameters. Not verified:
whether the paper trained BigGAN-deep with the orthogonal penalty; this preset uses it, as for BigGAN.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.family = "biggan_deep"
    c.model.resolution = 128
    c.model.ch = 128
    c.model.dim_z = 128
    c.model.pad_rgb = True
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
