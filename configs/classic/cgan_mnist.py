"""The conditional GAN on MNIST (Mirza & Osindero 2014).

Paper row: log-likelihood by Parzen windows (Table 1); not copied here.
Hardware:  theirs: not stated. With this code: not yet measured.
Expected:  no FID exists. With this code: not yet measured.
Command:   biggan-train --config=classic/cgan_mnist --workdir=runs/cgan_mnist

The paper states neither initial weights nor how fast momentum grows: they are those of the first GAN.
"""

from biggan_jax.config import base


def get_config():
    c = base("cgan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 100
    c.num_steps = 125_000
    c.model.num_classes = 10
    c.optimizer.name = "sgd"
    c.optimizer.g_lr = 0.1
    c.optimizer.d_lr = 0.1
    c.optimizer.decay = "exponential"
    c.optimizer.decay_factor = 1 / 1.00004
    c.optimizer.least_lr = 1e-6
    c.optimizer.momentum = 0.5
    c.optimizer.last_momentum = 0.7
    c.optimizer.momentum_end = 125_000
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.dataset = "mnist"
    return c
