"""BigGAN at 64x64 pixels on ImageNet, the paper's recipe, carried over.

Paper row: none: the paper has no 64-pixel network; the table is BigGAN-PyTorch's, the rest as at 128.
Hardware:  not stated: the paper begins at 128 pixels. Expected hours with this code: not yet measured.
Expected:  FID and IS with this code: not yet measured.
Command:   python -m biggan_jax.main --config=biggan_imagenet64 --workdir=gs://BUCKET/biggan64 --multihost

The penalty on G (orthogonal, 1e-4) is the paper's; Adam's eps and the data's flips are not stated there: 1e-6, none.
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
