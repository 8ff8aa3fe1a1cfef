"""BigGAN at 512x512 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN 512: FID 8.1, IS 144.2 without truncation at batch 2048 (Table 2, from memory).
Hardware:  the paper's: TPU v3-512 (from notes). With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_imagenet512 --workdir=gs://BUCKET/biggan512 --multihost

The orthogonal penalty on G (1e-4) is the paper's. The paper states neither Adam's eps (here 1e-6) nor flips (here none).
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 512
    c.model.dim_z = 160  # 8 chunks of 20.
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
