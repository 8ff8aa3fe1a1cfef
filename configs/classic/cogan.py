"""CoGAN on digits and their edges, as in the authors' cogan_pytorch (mingyuliutw/CoGAN, mnistedge), on 4,000 digits.

Paper row: pixel agreement of pairs (Liu & Tuzel 2016, Fig. 2); not copied here.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  no FID exists. With this code: not yet measured.
Command:   biggan-train --config=classic/cogan --workdir=runs/cogan
"""

from biggan_jax.config import base


def get_config():
    c = base("cogan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 64
    c.num_steps = 5000
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.optimizer.weight_decay = 5e-4
    c.ema.decay = 0.0
    c.data.name = "digit_edges"
    return c
