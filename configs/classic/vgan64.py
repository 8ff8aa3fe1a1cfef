"""VGAN as in the authors' code (cvondrick/videogan): clips of 32 frames of 64 pixels.

Paper row: Inception Score 8.18 on UCF-101 (reported by Saito et al. 2017); the paper itself has judgments of people.
Hardware:  theirs: one GPU, days. With this code: not yet measured.
Expected:  with this code: not yet measured; docs/video.md has what a narrow one gave.
Command:   biggan-train --config=classic/vgan64 --workdir=runs/vgan64 --config.data.dir=data/clips
"""

from biggan_jax.config import base


def get_config():
    c = base("vgan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 64
    c.num_steps = 100_000
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.b2 = 0.999
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.flip = False
    return c
