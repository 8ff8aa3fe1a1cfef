"""R3GAN on CIFAR-10 with classes, as in the preset of the authors' train.py (brownvc/R3GAN).

Paper row: FID 1.96 (Huang et al. 2024).
Hardware:  theirs: GPUs. With this code: not yet measured.
Expected:  theirs: FID 1.96. With this code: not yet measured.
Command:   biggan-train --config=modern/r3gan_cifar10 --workdir=runs/r3gan_cifar10

Steps: until the schedules end, after 20 million images; the authors' script names no last step. The strength of R1 and R2 falls
from 0.05 to 0.005.
"""

from biggan_jax.config import base


def get_config():
    c = base("r3gan")
    c.model.image_shape = (32, 32, 3)
    c.model.num_classes = 10
    c.model.bfloat16_stages = 3
    c.batch_size = 512
    c.num_steps = 39_063
    c.d_steps = 1
    c.loss = "relativistic_pairs"
    c.g_real = "own"
    c.condition.labels = "paired"
    c.regularizer.r1 = 0.05
    c.regularizer.r2 = 0.05
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.eps = 1e-8
    c.schedule.lr = "cosine:1:0.25:2e7"
    c.schedule.b2 = "cosine:0.9:0.99:2e7"
    c.schedule.penalties = "cosine:1:0.1:2e7"
    c.schedule.ema_half_life = "cosine:0:5e6:2e7"
    c.schedule.augment_p = "cosine:0:0.55:2e7"
    c.augment.ada = ("blit", "geometry", "colour:0.5", "cutout")
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    c.data.flip = True
    return c
