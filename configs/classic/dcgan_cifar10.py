"""DCGAN at 32 pixels with StudioGAN's deep_conv (POSTECH-CVLab/PyTorch-StudioGAN, CIFAR10/DCGAN.yaml).

Paper row: none.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  theirs: FID 49.03, IS 6.64 (log). With this code: not yet measured.
Command:   biggan-train --config=classic/dcgan_cifar10 --workdir=runs/dcgan_cifar10
"""

from biggan_jax.config import base


def get_config():
    c = base("dcgan")
    c.loss = "non_saturating"
    c.d_steps = 2
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-6
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    c.data.flip = True
    c.model.form = "deep_conv"
    c.model.image_shape = (32, 32, 3)
    c.model.dim_z = 128
    c.batch_size = 64
    c.num_steps = 200_000
    return c
