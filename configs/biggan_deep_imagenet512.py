"""BigGAN-deep at 512x512 pixels on ImageNet, the paper's recipe.

Paper row: BigGAN-deep 512: FID 8.43 as measured again without truncation (Dhariwal & Nichol 2021).
Hardware:  the paper's: TPU v3-512 (from notes). With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_deep_imagenet512 --workdir=gs://BUCKET/deep512 --multihost

G ends in the padded RGB convolution of the released graph, which gives it the paper's number of parameters. Not verified:
whether the paper trained BigGAN-deep with the orthogonal penalty; this preset uses it, as for BigGAN.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.family = "biggan_deep"
    c.model.resolution = 512
    c.model.ch = 128
    c.model.dim_z = 128
    c.model.pad_rgb = True
    c.optimizer.g_lr = 2.5e-5
    c.optimizer.d_lr = 2.5e-5
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
