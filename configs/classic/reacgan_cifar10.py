"""ReACGAN on BigGAN's networks at 32 pixels (POSTECH-CVLab/PyTorch-StudioGAN, CIFAR10/ReACGAN.yaml).

Paper row: none.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  theirs: FID 7.79, and 7.18 after 100,000 steps of its longer run (log). With this code: not yet measured.
Command:   biggan-train --config=classic/reacgan_cifar10 --workdir=runs/reacgan_cifar10
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 100_000
    c.batch_size = 128
    c.d_steps = 5
    c.condition.d = "d2dce"
    c.condition.d_weight = 0.5
    c.condition.g_weight = 0.5
    c.condition.temperature = 0.5
    c.condition.margin = 0.98
    c.model.resolution = 32
    c.model.num_classes = 10
    c.model.dim_z = 80
    c.model.widths = "studiogan"
    c.model.d_skip_relu = True
    c.model.g_attention = (16,)
    c.model.d_attention = (16,)
    c.model.spectral_eps = 1e-6
    c.optimizer.g_lr = 2.8284e-4
    c.optimizer.d_lr = 2.8284e-4
    c.optimizer.b1 = 0.5
    c.ema.start = 1000
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    c.data.flip = True
    return c
