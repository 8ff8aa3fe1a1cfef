"""BigGAN at 32x32 pixels on CIFAR-10, with StudioGAN's learning rates (POSTECH-CVLab/PyTorch-StudioGAN @ 947b35e).

Paper row: IS 9.22, FID 14.73 with the settings of Table 1, row 8 (App. C.2, from memory): biggan_cifar10_paper.
Hardware:  theirs: one GPU, about half a day. With this code: not yet measured.
Expected:  theirs: FID 4.16, IS 9.96 (figure), FID 8.13, IS 9.85 (2021 log). With this code: not yet measured.
Command:   biggan-train --config=biggan_cifar10 --workdir=runs/cifar10 --config.data.dir=DIR

Differences: D has BigGAN-PyTorch's widths, and skip connections that start before the ReLU; StudioGAN's networks are
model.widths=studiogan and model.d_skip_relu=True.
Unknown: flips in that recipe (on here), its EMA decay and eps (here as at 128 pixels).
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 100_000
    c.batch_size = 64
    c.d_steps = 5
    c.model.resolution = 32
    c.model.num_classes = 10
    c.model.ch = 96
    c.model.dim_z = 80  # 4 chunks of 20.
    c.model.g_attention = ()
    c.model.d_attention = ()
    c.model.spectral_eps = 1e-6
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.ema.start = 1000
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    c.data.flip = True
    return c
