"""A narrow VGAN for CPUs, of clips of 8 frames of 16 pixels. As it is, it learns moving digits from a Python package.

Paper row: none; widths, learning rates and the mask's strength are chosen for a run of minutes.
Hardware:  2 CPU cores: 100 s of CPU.
Expected:  no figure of others; samples change by 0.060 a frame, real clips by 0.052 (docs/video.md).
Command:   biggan-train --config=classic/vgan_digits --workdir=runs/vgan
"""

from biggan_jax.config import base


def get_config():
    c = base("vgan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 32
    c.num_steps = 1500
    c.model.image_shape = (16, 16, 1)
    c.model.frames = 8
    c.model.ch = 8
    c.optimizer.g_lr = 1e-3
    c.optimizer.d_lr = 1e-3
    c.optimizer.b1 = 0.5
    c.optimizer.b2 = 0.999
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.99
    c.data.name = "moving_digits"
    c.data.flip = False
    c.log_every = 50
    c.sample_every = 500
    c.checkpoint_every = 500
    return c
