"""CoGAN on digits and their edges with an eighth of the channels, for CPUs.

Paper row: none; widths and learning rates are chosen for a run of minutes.
Hardware:  2 CPU cores, 33 minutes of CPU time.
Expected:  0.94 of the white pixels of edge(A) and B are within one pixel of the other's; see docs/translation.md.
Command:   biggan-train --config=classic/cogan_narrow --workdir=runs/cogan
"""

from biggan_jax.config import base


def get_config():
    c = base("cogan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 64
    c.num_steps = 3000
    c.model.ch = 16
    c.optimizer.g_lr = 5e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.weight_decay = 5e-4
    c.ema.decay = 0.99
    c.data.name = "digit_edges"
    c.sample_every = 500
    c.checkpoint_every = 500
    return c
