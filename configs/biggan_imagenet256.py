"""BigGAN at 256x256 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN 256: FID 8.7, IS 142.3 without truncation at batch 2048 (Table 2, from memory).
Hardware:  the paper's: TPU v3-256 (from notes). With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_imagenet256 --workdir=gs://BUCKET/biggan256 --multihost

The orthogonal penalty on G (1e-4) is the paper's. The paper states neither Adam's eps (here 1e-6) nor flips (here none).
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 256
    c.model.dim_z = 140  # 7 chunks of 20.
    c.model.g_attention = (128,)  # App. B, Table 5; D stays at 64.
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
