"""StyleGAN on FFHQ at 1024x1024 pixels, as in the authors' code for 8 GPUs (NVlabs/stylegan).

Paper row: FID 4.40 (Karras et al. 2019).
Hardware:  theirs: 8 V100. With this code: not yet measured.
Expected:  theirs: FID 4.40; 4.4159 by the run of their repository. With this code: not yet measured.
Command:   biggan-train --config=modern/stylegan_ffhq1024 --workdir=runs/stylegan_ffhq1024

Steps: 25 million images; batches fall from 256 to 32. Batch sizes are from memory.

Prepare the pictures first: biggan-prepare --from=folder --in=FFHQ --out=data/ffhq1024 --size=1024.
"""

from biggan_jax.config import base


def get_config():
    c = base("stylegan")
    c.model.image_shape = (1024, 1024, 3)
    c.model.batch_sizes = (512, 256, 128, 64)
    c.model.lr_factors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0, 3.0)
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
    c.data.dir = "data/ffhq1024"
    c.data.flip = True
    return c
