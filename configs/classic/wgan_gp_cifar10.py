"""WGAN-GP with ResNets on CIFAR-10, as in the authors' gan_cifar_resnet.py (igul222/improved_wgan_training).

Paper row: IS (Gulrajani et al. 2017, Table 3); not copied here.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  theirs: FID 29.3, as kwotsin/mimicry quotes it. With this code: not yet measured.
Command:   biggan-train --config=classic/wgan_gp_cifar10 --workdir=runs/wgan_gp_cifar10
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
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.decay = "linear"
    c.optimizer.decay_end = 100_000
    c.data.dequantize = True
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
