"""ProGAN on CIFAR-10, unconditional, as in the authors' code (tkarras/progressive_growing_of_gans, first version).

Paper row: IS 8.80 +- 0.05 at best, 8.56 +- 0.06 on average (Karras et al. 2018).
Hardware:  theirs: not said. With this code: not yet measured.
Expected:  theirs: the paper row; no FID published. With this code: not yet measured.
Command:   biggan-train --config=modern/progan_cifar10 --workdir=runs/progan_cifar10

Steps: 20 million images in batches of 16. Gradients of D are pulled to a norm of 750, not 1. Differences: the authors update G and
D at the same time, on the same fake images; here D comes first.
"""

from biggan_jax.config import base


def get_config():
    c = base("progan")
    c.model.image_shape = (32, 32, 3)
    c.model.fmap_base = 4096
    c.model.fmap_max = 128
    c.model.dim_z = 128
    c.model.train_images = 400_000
    c.model.fade_images = 400_000
    c.batch_size = 16
    c.num_steps = 1_250_000
    c.d_steps = 1
    c.loss = "wasserstein"
    c.regularizer.gp = 10.0
    c.regularizer.gp_target = 750.0
    c.regularizer.drift = 0.001
    c.optimizer.g_lr = 0.001
    c.optimizer.d_lr = 0.001
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.999
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
