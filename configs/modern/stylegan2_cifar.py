"""StyleGAN2-ADA on CIFAR-10 with classes, as cfg=cifar in NVlabs/stylegan2-ada-pytorch.

Paper row: FID 2.42 (Karras et al. 2020, "Limited Data").
Hardware:  theirs: 2 GPUs. With this code: not yet measured.
Expected:  theirs: FID 2.42. With this code: not yet measured.
Command:   biggan-train --config=modern/stylegan2_cifar --workdir=runs/stylegan2_cifar
"""

from biggan_jax.config import base


def get_config():
    c = base("stylegan2")
    c.model.image_shape = (32, 32, 3)
    c.model.num_classes = 10
    c.model.d_architecture = "orig"
    c.model.style_mixing = 0.0
    c.model.path_length = 0.0
    c.model.mapping_layers = 2
    c.model.d_stddev_group = 32
    c.model.clamp = 256.0
    c.model.bfloat16_stages = 4
    c.batch_size = 64
    c.num_steps = 1_562_500
    c.d_steps = 1
    c.loss = "non_saturating"
    c.regularizer.r1 = 0.01
    c.regularizer.every = 16
    c.optimizer.g_lr = 0.0025
    c.optimizer.d_lr = 0.0025
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.half_life = 500000.0
    c.ema.ramp = 0.05
    c.augment.ada = ("blit", "geometry", "colour")
    c.augment.target = 0.6
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
