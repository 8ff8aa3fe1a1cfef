"""CoGAN on digits and their edges with a quarter of the channels, for CPUs.

Paper row: none; widths and learning rates are chosen for a run of minutes. R1 is not the authors': D overfits 4,000 digits.
Hardware:  one CPU core, about 22 minutes.
Expected:  0.966 of the pixels of edge(A) and B agree, with a threshold at half of white; see docs/translation.md.
Command:   biggan-train --config=classic/cogan_narrow --workdir=runs/cogan
"""

from biggan_jax.config import base


def get_config():
    c = base("cogan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 16
    c.num_steps = 16_000
    c.model.ch = 32
    c.optimizer.g_lr = 5e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.weight_decay = 5e-4
    c.regularizer.r1 = 0.4
    c.regularizer.every = 4
    c.ema.decay = 0.998
    c.data.name = "digit_edges"
    c.sample_every = 2000
    c.checkpoint_every = 2000
    return c
