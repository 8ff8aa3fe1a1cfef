"""Conditional WGAN-GP with ResNets and an AC-GAN head on CIFAR-10 (igul222/improved_wgan_training).

Paper row: IS (Gulrajani et al. 2017, Table 3); not copied here.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID published. With this code: not yet measured.
Command:   biggan-train --config=classic/wgan_gp_cifar10_ac --workdir=runs/wgan_gp_cifar10_ac
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
    c.g_batch = 2
    c.num_steps = 100_000
    c.model.num_classes = 10
    c.condition.d = "ac"
    c.condition.g_weight = 0.1
    c.condition.labels = "real"
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.decay = "linear"
    c.optimizer.decay_end = 100_000
    c.data.dequantize = True
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
