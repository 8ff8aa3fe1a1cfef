"""Conditional DCGAN on MNIST, as in the authors' mnist/train_cond_dcgan.py (Newmu/dcgan_code).

Paper row: none: nearest neighbours' accuracy is reported, no FID.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/dcgan_mnist --workdir=runs/dcgan_mnist

Theirs updates G and D on minibatches in turn, so that this is twice its number of updates; its batch norm has no gains or
offsets.
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
    c.data.dataset = "mnist"
    c.model.form = "conditional"
    c.model.image_shape = (28, 28, 1)
    c.model.num_classes = 10
    c.model.prior = "uniform"
    c.optimizer.weight_decay = 2.5e-5
    c.optimizer.decay = "linear"
    c.optimizer.decay_start = 39_000  # 100 epochs, then 100 of decay.
    c.optimizer.decay_end = 78_000
    c.batch_size = 128
    c.num_steps = 78_000
    return c
