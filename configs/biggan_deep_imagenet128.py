"""BigGAN-deep at 128x128 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN-deep 128: FID 7.4, IS 166.5 at the truncation of its headline (Brock et al. 2019, abstract).
Hardware:  the paper's: TPU v3-128. Expected hours with this code: not yet measured.
Expected:  FID and IS with this code: not yet measured.
Command:   python -m biggan_jax.main --config=biggan_deep_imagenet128 --workdir=gs://BUCKET/deep128 --multihost
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.family = "biggan_deep"
    c.model.ch = 128
    c.model.dim_z = 128
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
