"""SAGAN at 128 pixels on ImageNet, as in the authors' code (brain-research/self-attention-gan).

Paper row: FID and IS (Zhang et al. 2019, Table 1); not copied here.
Hardware:  theirs: 4 GPUs, several weeks. With this code: not yet measured.
Expected:  no figure in their code. With this code: not yet measured.
Command:   biggan-train --config=classic/sagan128 --workdir=runs/sagan128
"""

from biggan_jax.config import base


def get_config():
    c = base("sagan")
    c.d_steps = 1
    c.batch_size = 256
    c.num_steps = 1_000_000
    c.model.num_classes = 1000
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 4e-4
    c.optimizer.b2 = 0.9
    c.optimizer.eps = 1e-8
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
