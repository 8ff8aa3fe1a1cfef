"""A small StyleGAN2 on 5,000 real digits at 16x16 pixels, with classes.

Paper row: none; widths and learning rates are chosen for a run of minutes, not for scores.
Hardware:  2 CPU cores. Expected time: 6 minutes.
Expected:  class agreement 0.988 by a fitted classifier, 0.032 of the distance of an untrained G; no published score.
Command:   biggan-train --config=modern/stylegan2_digits --workdir=runs/stylegan2_digits
"""

from biggan_jax.config import base


def get_config():
    c = base("stylegan2")
    c.num_steps = 3000
    c.batch_size = 32
    c.d_steps = 1

    c.data.name = "mnist5k"
    c.model.image_shape = (16, 16, 1)
    c.model.num_classes = 10
    c.model.channel_base = 512
    c.model.channel_max = 64
    c.model.dim_z = 64
    c.model.dim_w = 64
    c.model.mapping_layers = 2
    c.model.d_mapping_layers = 2
    c.model.style_mixing = 0.5
    c.model.path_length = 0.0

    c.loss = "non_saturating"
    c.regularizer.r1 = 0.5
    c.regularizer.every = 16
    c.optimizer.g_lr = 2.5e-3
    c.optimizer.d_lr = 2.5e-3
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.99

    c.log_every = 100
    c.sample_every = 1000
    c.checkpoint_every = 1000
    return c
