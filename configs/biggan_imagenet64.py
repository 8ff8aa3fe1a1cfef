"""BigGAN at 64x64 pixels on ImageNet: the paper's 128-pixel recipe on a smaller network.

Paper row: none. The paper has no 64-pixel network: widths are BigGAN-PyTorch's, the rest is as at 128 pixels.
Hardware:  not stated: the paper starts at 128 pixels. With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_imagenet64 --workdir=gs://BUCKET/biggan64 --multihost

The orthogonal penalty on G (1e-4) is the paper's. The paper states neither Adam's eps (here 1e-6) nor flips (here none).
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 64
    c.model.dim_z = 120  # 5 chunks of 24.
    c.model.d_attention = ()  # D has no features of 64x64 pixels.
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
