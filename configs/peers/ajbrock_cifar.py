"""BigGAN at 32 pixels on CIFAR-10 as in BigGAN-PyTorch's launch_cifar_ema.sh (ajbrock/BigGAN-PyTorch @ 9845943).

Paper row: IS 9.22, FID 14.73 with the settings of Table 1, row 8 (App. C.2, from memory): biggan_cifar10_paper.
Hardware:  theirs: 2 GPUs, time not stated.
Expected:  a user's report: IS 8.375, FID 6.335 at step 95,000. With this code: not yet measured.
Command:   biggan-train --config=peers/ajbrock_cifar --workdir=runs/cifar --config.data.dir=DIR

Its 500 epochs of 50,000 images, at 4 x 50 images per step, are 125,000 steps. No shared embedding, no skip-z, no flips.
Each of its 2 GPUs normalises its own 25 images, and so do groups of 25 here.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 125_000
    c.batch_size = 50
    c.d_steps = 4
    c.model.resolution = 32
    c.model.num_classes = 10
    c.model.ch = 64
    c.model.dim_z = 128
    c.model.shared_embedding = False
    c.model.skip_z = False
    c.model.g_attention = ()
    c.model.d_attention = ()
    c.model.init = "normal"
    c.model.bn_eps = 1e-5
    c.model.bn_group = 25
    c.model.spectral_eps = 1e-8
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.eps = 1e-8
    c.ema.start = 1000
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
