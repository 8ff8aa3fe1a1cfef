"""SNGAN with projection at 128 pixels on ImageNet, as in sn_projection.yml (pfnet-research/sngan_projection).

Paper row: IS 29.7, intra-FID 103.1 at 450,000 steps (pfnet-research/sngan_projection, README_paper).
Hardware:  theirs: 4 GPUs. With this code: not yet measured.
Expected:  theirs: IS 29.7. With this code: not yet measured.
Command:   biggan-train --config=classic/sngan_imagenet128 --workdir=runs/sngan_imagenet128
"""

from biggan_jax.config import base


def get_config():
    c = base("sngan")
    c.loss = "hinge"
    c.d_steps = 5
    c.g_batch = 2
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b2 = 0.9
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.ema.decay = 0.0
    c.data.dequantize = True
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    c.model.image_shape = (128, 128, 3)
    c.model.num_classes = 1000
    c.model.d_wide = False
    c.model.d_bias = True
    c.batch_size = 64
    c.num_steps = 450_000
    c.optimizer.decay_start = 400_000
    c.optimizer.decay_end = 450_000
    return c
