"""A narrow pix2pix at 32 pixels for CPUs. As it is, it draws the edges of digits, from a Python package.

Paper row: none; widths and learning rates are chosen for a run of minutes.
Hardware:  2 CPU cores: minutes.
Expected:  docs/translation.md has what was measured on pairs of emoji.
Command:   biggan-train --config=classic/pix2pix32 --workdir=runs/pix2pix32
"""

from biggan_jax.config import base


def get_config():
    c = base("pix2pix")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 16
    c.num_steps = 3000
    c.model.image_shape = (32, 32, 1)
    c.model.input_channels = 1
    c.model.ch = 32
    c.model.d_ch = 32
    c.model.d_layers = 2
    c.optimizer.g_lr = 1e-3
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.decay = "linear"
    c.optimizer.decay_start = 1500
    c.optimizer.decay_end = 3000
    c.ema.decay = 0.0
    c.data.name = "digit_edges"
    c.log_every = 50
    c.sample_every = 500
    c.checkpoint_every = 500
    return c
