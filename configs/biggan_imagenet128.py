"""BigGAN at 128x128 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN 128: FID 8.7, IS 98.8 without truncation at batch 2048 (Brock et al. 2019, Table 2).
Hardware:  the paper's: TPU v3-128 (from notes). With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_imagenet128 --workdir=gs://BUCKET/biggan128 --multihost

The orthogonal penalty on G (1e-4) is the paper's. The paper states neither Adam's eps (here 1e-6) nor flips (here none).
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 128
    c.model.dim_z = 120  # 6 chunks of 20.
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
