"""SNGAN with projection on CIFAR-10, as in sn_cifar10_conditional.yml (pfnet-research/sngan_projection).

Paper row: FID 17.5 (Miyato & Koyama 2018, as kwotsin/mimicry quotes it).
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  theirs: FID 17.5. With this code: not yet measured.
Command:   biggan-train --config=classic/sngan_cifar10_projection --workdir=runs/sngan_cifar10_projection
"""

from biggan_jax.config import base


def get_config():
    c = base("sngan")
    c.loss = "hinge"
    c.d_steps = 5
    c.g_batch = 2
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b2 = 0.9
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.ema.decay = 0.0
    c.data.dequantize = True
    c.data.name = "tfds"
    c.optimizer.decay_end = 50_000
    c.data.dataset = "cifar10"
    c.model.num_classes = 10
    c.batch_size = 64
    c.num_steps = 50_000
    return c
