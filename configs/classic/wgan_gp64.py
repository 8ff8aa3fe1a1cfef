"""WGAN-GP at 64 pixels with the ResNets 'Good' of gan_64x64.py (igul222/improved_wgan_training).

Paper row: none: the paper has no FID.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/wgan_gp64 --workdir=runs/wgan_gp64

Data: --config.data.dir=DIR of a prepared set, such as LSUN's bedrooms.
"""

from biggan_jax.config import base


def get_config():
    c = base("wgan_gp")
    c.loss = "wasserstein"
    c.d_steps = 5
    c.regularizer.gp = 10.0
    c.optimizer.b2 = 0.9
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.batch_size = 64
    c.num_steps = 200_000
    c.model.form = "good"
    c.model.image_shape = (64, 64, 3)
    c.model.ch = 64
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 1e-4
    c.data.name = "tfds"
    return c
