"""A small ProGAN on 5,000 real digits, which grows from 4 to 16 pixels.

Paper row: none; widths, learning rates and the schedule are chosen for a run of minutes, not for scores.
Hardware:  2 CPU cores. Expected time: 5 minutes.
Expected:  all ten digits by a fitted classifier, with an entropy of 2.22 (at most 2.30), and 0.063 of the distance of an
           untrained G; no published score.
Command:   biggan-train --config=modern/progan_digits --workdir=runs/progan_digits
"""

from biggan_jax.config import base


def get_config():
    c = base("progan")
    c.num_steps = 5000
    c.batch_size = 32
    c.d_steps = 1

    c.data.name = "mnist5k"
    c.model.image_shape = (16, 16, 1)
    c.model.fmap_base = 192
    c.model.fmap_max = 48
    c.model.dim_z = 48
    c.model.train_images = 16_000
    c.model.fade_images = 16_000

    c.loss = "wasserstein"
    c.regularizer.gp = 10.0
    c.regularizer.drift = 0.001
    c.optimizer.g_lr = 1e-3
    c.optimizer.d_lr = 1e-3
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.99

    c.log_every = 100
    c.sample_every = 1000
    c.checkpoint_every = 1000
    return c
