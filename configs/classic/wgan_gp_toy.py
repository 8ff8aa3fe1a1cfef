"""WGAN-GP on 8 Gaussians in the plane, as in the authors' gan_toy.py (igul222/improved_wgan_training).

Paper row: none: the paper shows the points.
Hardware:  2 CPU cores: minutes.
Expected:  all modes have samples; benchmarks/results/families.json has what was measured.
Command:   biggan-train --config=classic/wgan_gp_toy --workdir=runs/wgan_gp_toy
"""

from biggan_jax.config import base


def get_config():
    c = base("wgan_gp")
    c.loss = "wasserstein"
    c.d_steps = 5
    c.batch_size = 256
    c.num_steps = 10_000
    c.model.form = "toy"
    c.model.image_shape = (2,)
    c.model.ch = 512
    c.model.dim_z = 2
    c.regularizer.gp = 0.1
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 1e-4
    c.optimizer.b1 = 0.5
    c.optimizer.b2 = 0.9
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.data.name = "gaussians8"  # Or gaussians25, swiss_roll.
    c.sample_every = 0
    return c
