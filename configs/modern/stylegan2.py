"""StyleGAN2, config F, on FFHQ at 1024x1024 pixels, as cfg=stylegan2 in NVlabs/stylegan2-ada-pytorch.

Paper row: FID 2.84 +- 0.03 (Karras et al. 2020, "Analyzing and Improving").
Hardware:  theirs: 8 V100, 9.8 days. With this code: not yet measured.
Expected:  theirs: FID 2.84. With this code: not yet measured.
Command:   biggan-train --config=modern/stylegan2 --workdir=runs/stylegan2

Prepare the pictures first: biggan-prepare --from=folder --in=FFHQ --out=data/ffhq1024 --size=1024.
"""

from biggan_jax.config import base


def get_config():
    c = base("stylegan2")
    c.model.image_shape = (1024, 1024, 3)
    c.model.clamp = 256.0
    c.model.bfloat16_stages = 4
    c.batch_size = 32
    c.num_steps = 781_250
    c.d_steps = 1
    c.loss = "non_saturating"
    c.regularizer.r1 = 10.0
    c.regularizer.every = 16
    c.optimizer.g_lr = 0.002
    c.optimizer.d_lr = 0.002
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.half_life = 10000.0
    c.data.name = "tfds"
    c.data.dir = "data/ffhq1024"
    c.data.flip = True
    return c
