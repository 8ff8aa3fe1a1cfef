"""DCGAN at 64 pixels in its well-known torch form (soumith/dcgan.torch).

Paper row: none: the paper has no FID.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/dcgan64 --workdir=runs/dcgan64

Data: --config.data.dir=DIR of a prepared set. The number of steps is ours: theirs is 25 epochs of the data.
"""

from biggan_jax.config import base


def get_config():
    c = base("dcgan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.batch_size = 64
    c.num_steps = 150_000
    return c
