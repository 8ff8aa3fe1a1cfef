"""A narrow CycleGAN at 32 pixels for CPUs. As it is, it learns from digits and edges, without pairs, from a Python package.

Paper row: none; widths and learning rates are chosen for a run of minutes.
Hardware:  2 CPU cores: minutes.
Expected:  no figure; docs/translation.md has what a part of its steps gave on two sets of emoji.
Command:   biggan-train --config=classic/cyclegan32 --workdir=runs/cyclegan32
"""

from biggan_jax.config import base


def get_config():
    c = base("cyclegan")
    c.loss = "least_squares"
    c.d_steps = 1
    c.batch_size = 4
    c.num_steps = 1000
    c.model.image_shape = (32, 32, 1)
    c.model.input_channels = 1
    c.model.ch = 24
    c.model.blocks = 3
    c.model.d_ch = 32
    c.model.d_layers = 2
    c.optimizer.g_lr = 5e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.optimizer.decay_start = 500
    c.optimizer.decay_end = 1000
    c.ema.decay = 0.0
    c.data.name = "digit_edges"
    c.log_every = 50
    c.sample_every = 500
    c.checkpoint_every = 500
    return c
