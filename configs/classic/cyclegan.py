"""CycleGAN at 256 pixels, as in the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix) on horse2zebra.

Paper row: none: the paper reports no FID for these sets.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  mmgeneration's FID horse to zebra 64.5, zebra to horse 141.2. With this code: not yet measured.
Command:   biggan-train --config=classic/cyclegan --workdir=runs/cyclegan

Set --config.data.dir to a set that `biggan-prepare --from=unpaired --size=286` made. Steps: 200 epochs of the 1,334 zebras.
Theirs lowers the learning rate once an epoch; this one in each step.
"""

from biggan_jax.config import base


def get_config():
    c = base("cyclegan")
    c.loss = "least_squares"
    c.d_steps = 1
    c.batch_size = 1
    c.num_steps = 266_800
    c.model.load_size = 286
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.optimizer.decay_start = 133_400
    c.optimizer.decay_end = 266_800
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.resize = "bicubic"
    c.data.flip = True
    return c
