"""BigGAN at 128x128 pixels on ImageNet, the paper's recipe; the defaults of biggan_jax.config are this one.

Paper row: BigGAN 128: FID 8.7, IS 98.8 without truncation at batch 2048 (Brock et al. 2019, Table 2).
Hardware:  the paper's: TPU v3-128. Expected hours with this code: not yet measured.
Expected:  FID and IS with this code: not yet measured.
Command:   python -m biggan_jax.main --config=biggan_imagenet128 --workdir=gs://BUCKET/biggan128 --multihost
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
