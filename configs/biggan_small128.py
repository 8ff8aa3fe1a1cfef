"""BigGAN at 128x128 pixels for a few thousand images of your own: narrow, with DiffAugment (Zhao et al. 2020).

Paper row: none.
Hardware:  one GPU or a TPU of 8 cores. With this code: not yet measured.
Expected:  not yet measured. Without augmentation D overfits a data set of this size.
Command:   biggan-train --config=biggan_small128 --workdir=runs/mine
           --config.data.dataset=BUILDER --config.model.num_classes=N

The values are our choice and not measured. Even a quarter of the paper's batch would be many epochs a day.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 50_000
    c.batch_size = 64
    c.d_steps = 2
    c.model.num_classes = 1
    c.model.ch = 64
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 4e-4
    c.ema.decay = 0.999
    c.augment.policy = ("colour", "translation", "cutout")
    c.data.name = "tfds"
    c.data.flip = True
    return c
