"""A smoke test that uses every part in under a minute: scikit-learn's 8x8 digits, enlarged to 16x16 pixels.

Paper row: none.
Hardware:  2 CPU cores. Expected time: under a minute.
Expected:  no FID or IS; samples are still noise.
Command:   biggan-train --config=digits --workdir=runs/digits
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 60
    c.batch_size = 16
    c.d_steps = 1

    c.data.name = "digits"
    c.model.resolution = 16
    c.model.num_classes = 10
    c.model.ch = 4
    c.model.dim_z = 12
    c.model.shared_dim = 8
    c.model.g_attention = (8,)
    c.model.d_attention = (8,)
    c.ema.decay = 0.99

    c.log_every = 10
    c.sample_every = 30
    c.checkpoint_every = 30
    return c
