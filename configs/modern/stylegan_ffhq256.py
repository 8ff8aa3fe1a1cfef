"""StyleGAN on FFHQ at 256x256 pixels, by the schedule of the authors' code for 1024 pixels (NVlabs/stylegan).

Paper row: none; FID 6.09 by the run of open-mmlab/mmgeneration, whose settings may differ.
Hardware:  theirs: 8 GPUs. With this code: not yet measured.
Expected:  mmgeneration: FID 6.09. With this code: not yet measured.
Command:   biggan-train --config=modern/stylegan_ffhq256 --workdir=runs/stylegan_ffhq256

Steps: 25 million images; batches fall from 256 to 32. Batch sizes are from memory.

Prepare the pictures first: biggan-prepare --from=folder --in=FFHQ --out=data/ffhq256 --size=256.
"""

from biggan_jax.config import base


def get_config():
    c = base("stylegan")
    c.model.image_shape = (256, 256, 3)
    c.model.batch_sizes = (512, 256, 128, 64)
    c.model.lr_factors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 2.0)
    c.batch_size = 32
    c.num_steps = 717_966
    c.d_steps = 1
    c.loss = "non_saturating"
    c.regularizer.r1 = 10.0
    c.optimizer.g_lr = 0.001
    c.optimizer.d_lr = 0.001
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.half_life = 10000.0
    c.data.name = "tfds"
    c.data.dir = "data/ffhq256"
    c.data.flip = True
    return c
