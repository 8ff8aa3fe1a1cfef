"""WGAN at 64 pixels on DCGAN's networks, as in the authors' main.py (martinarjovsky/WassersteinGAN).

Paper row: none: the paper has no FID.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/wgan64 --workdir=runs/wgan64

Data: --config.data.dir=DIR of a prepared set, such as LSUN's bedrooms. The number of steps is ours.
"""

from biggan_jax.config import base


def get_config():
    c = base("wgan")
    c.loss = "wasserstein"
    c.d_steps = 5
    c.batch_size = 64
    c.num_steps = 250_000
    c.regularizer.clip = 0.01
    c.optimizer.name = "rmsprop"
    c.optimizer.g_lr = 5e-5
    c.optimizer.d_lr = 5e-5
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.data.name = "tfds"
    return c
