"""A small BigGAN on 4,000 real digits at 16x16 pixels: the recipe of `make demo`.

Paper row: none; widths, learning rates and EMA decay are chosen for a run of minutes, not for scores.
Hardware:  2 CPU cores. Expected time: 3 to 6 minutes.
Expected:  no FID or IS, which mean nothing on digits; the README lists what `make demo` measures.
Command:   biggan-train --config=quickstart --workdir=runs/quickstart
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 1200
    c.batch_size = 32
    c.d_steps = 2

    c.data.name = "mnist5k"
    c.data.order = "feistel"  # The order with which the figures of `make demo` were measured.
    c.model.resolution = 16
    c.model.num_classes = 10
    c.model.ch = 16
    c.model.dim_z = 60
    c.model.shared_dim = 32
    c.model.g_attention = ()
    c.model.d_attention = ()

    # A short run needs large learning rates, and a second moment that forgets within it.
    c.optimizer.g_lr = 4e-4
    c.optimizer.d_lr = 8e-4
    c.optimizer.b2 = 0.99
    c.ema.decay = 0.99

    c.log_every = 50
    c.sample_every = 300
    c.checkpoint_every = 300

    c.stability.every = 50
    c.stability.expected = "300:600,600:200"
    c.score.every = 300
    return c
