"""BigGAN at 128x128 pixels on ImageNet, as in the paper.

Paper row: BigGAN 128 (Brock et al. 2019, Table 2): FID 8.7 +- .6, IS 98.8 +- 3 without truncation.
Hardware:  TPU v3-128 (the paper's); expected hours not yet measured.
Expected:  FID/IS with this code not yet measured.
Command:   python -m biggan_jax.main --config=biggan_imagenet128 --workdir=gs://BUCKET/biggan128 --multihost
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.data.name = "fake"
    return c
