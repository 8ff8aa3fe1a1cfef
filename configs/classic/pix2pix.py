"""pix2pix at 256 pixels, as in the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix) on facades.

Paper row: none: the paper reports FCN-scores and people's judgements.
Hardware:  theirs: one GPU, hours. With this code: not yet measured.
Expected:  mmgeneration's FID on facades 125.0, edges to shoes 84.4. With this code: not yet measured.
Command:   biggan-train --config=classic/pix2pix --workdir=runs/pix2pix

Set --config.data.dir to a set that `biggan-prepare --from=pairs --size=286` made; facades needs --config.model.direction=BtoA.
Steps: 200 epochs of 400 pairs. Theirs lowers the learning rate once an epoch; this one in each step.
"""

from biggan_jax.config import base


def get_config():
    c = base("pix2pix")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 1
    c.num_steps = 80_000
    c.model.load_size = 286
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.optimizer.decay_start = 40_000
    c.optimizer.decay_end = 80_000
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.resize = "bicubic"
    c.data.flip = True
    return c
