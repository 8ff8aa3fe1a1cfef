"""DCGAN at 64 pixels with 5x5 kernels, as in the authors' faces/train_uncond_dcgan.py (Newmu/dcgan_code).

Paper row: none: the paper has no FID.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/dcgan_faces64 --workdir=runs/dcgan_faces64

Theirs updates G and D on minibatches in turn; here each step has both. Data: --config.data.dir=DIR of a prepared set.
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
    c.model.form = "paper"
    c.model.ch = 128
    c.model.prior = "uniform"
    c.optimizer.weight_decay = 1e-5
    c.batch_size = 128
    c.num_steps = 68_000  # 25 epochs of 350,000 faces.
    return c
