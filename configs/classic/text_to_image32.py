"""Narrow text to image at 32 pixels for CPUs. As it is, it learns captions of digits, from a Python package.

Paper row: none; widths and learning rates are chosen for a run of minutes.
Hardware:  2 CPU cores: minutes.
Expected:  no figure of others; docs/text_to_image.md has what half of its steps gave on emoji and their names.
Command:   biggan-train --config=classic/text_to_image32 --workdir=runs/text32
"""

from biggan_jax.config import base


def get_config():
    c = base("text_to_image")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 32
    c.num_steps = 3000
    c.model.image_shape = (32, 32, 3)
    c.model.ch = 24
    c.model.d_ch = 24
    c.model.text_dim = 64
    c.model.text_length = 80
    c.model.embed_dim = 128
    c.model.text_ch = 48
    c.model.text_lr = 1e-3
    c.optimizer.g_lr = 4e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.99
    c.data.name = "digit_captions"
    c.log_every = 50
    c.sample_every = 500
    c.checkpoint_every = 500
    return c
