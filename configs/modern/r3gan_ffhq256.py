"""R3GAN on FFHQ at 256x256 pixels, as in the preset of the authors' train.py (brownvc/R3GAN).

Paper row: FID 2.75 (Huang et al. 2024).
Hardware:  theirs: GPUs. With this code: not yet measured.
Expected:  theirs: FID 2.75. With this code: not yet measured.
Command:   biggan-train --config=modern/r3gan_ffhq256 --workdir=runs/r3gan_ffhq256

Steps: until the schedules end, after 20 million images; the authors' script names no last step. The strength of R1 and R2 falls
from 150 to 15.

Prepare the pictures first: biggan-prepare --from=folder --in=FFHQ --out=data/ffhq256 --size=256.
"""

from biggan_jax.config import base


def get_config():
    c = base("r3gan")
    c.model.image_shape = (256, 256, 3)
    c.model.widths = (768, 768, 768, 768, 384, 192, 96)
    c.model.groups = (96, 96, 96, 96, 48, 24, 12)
    c.model.blocks = (2, 2, 2, 2, 2, 2, 2)
    c.model.bfloat16_stages = 4
    c.batch_size = 256
    c.num_steps = 78_125
    c.d_steps = 1
    c.loss = "relativistic_pairs"
    c.g_real = "own"
    c.regularizer.r1 = 150.0
    c.regularizer.r2 = 150.0
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.eps = 1e-8
    c.schedule.lr = "cosine:1:0.25:2e7"
    c.schedule.b2 = "cosine:0.9:0.99:2e7"
    c.schedule.penalties = "cosine:1:0.1:2e7"
    c.schedule.ema_half_life = "cosine:0:5e5:2e7"
    c.schedule.augment_p = "cosine:0:0.3:2e7"
    c.augment.ada = ("blit", "geometry", "colour:0.5", "cutout")
    c.data.name = "tfds"
    c.data.dir = "data/ffhq256"
    c.data.flip = True
    return c
