"""ProGAN on CelebA-HQ at 1024x1024 pixels, as in the authors' code for one GPU (tkarras/progressive_growing_of_gans).

Paper row: FID 7.30 (Karras et al. 2018, from memory).
Hardware:  theirs: one or 8 V100. With this code: not yet measured.
Expected:  theirs: FID 7.30. With this code: not yet measured.
Command:   biggan-train --config=modern/progan_celebahq1024 --workdir=runs/progan_celebahq1024

Steps: 12 million images; batches fall from 128 to 4, so on more devices raise batch_size and model.batch_sizes.

Prepare the pictures first: biggan-prepare --from=folder --in=CELEBAHQ --out=data/celebahq1024 --size=1024.
"""

from biggan_jax.config import base


def get_config():
    c = base("progan")
    c.model.image_shape = (1024, 1024, 3)
    c.model.batch_sizes = (128, 128, 128, 64, 32, 16, 8)
    c.model.lr_factors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5)
    c.batch_size = 4
    c.num_steps = 1_354_672
    c.d_steps = 1
    c.loss = "wasserstein"
    c.regularizer.gp = 10.0
    c.regularizer.drift = 0.001
    c.optimizer.g_lr = 0.001
    c.optimizer.d_lr = 0.001
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.999
    c.data.name = "tfds"
    c.data.dir = "data/celebahq1024"
    c.data.flip = True
    return c
