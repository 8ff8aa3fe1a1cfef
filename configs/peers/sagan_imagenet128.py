"""SA-GAN at 128 pixels, the paper's baseline, as in BigGAN-PyTorch's launch_SAGAN_bs128x2_ema.sh (@ 9845943).

Paper row: the baseline above BigGAN's ablations (Brock et al. 2019, Table 1; figures not copied here).
Hardware:  theirs: not stated.
Expected:  theirs: no figure. With this code: not yet measured.
Command:   biggan-train --config=peers/sagan_imagenet128 --workdir=runs/sagan

Its number of steps is unknown; 150,000 is our default. It has BigGAN's blocks with one embedding per batch norm, z in the
first layer only, and 64 channels.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.batch_size = 256
    c.microbatches = 2
    c.spectral_advance = "microbatch"
    c.d_steps = 1
    c.model.ch = 64
    c.model.dim_z = 128
    c.model.shared_embedding = False
    c.model.skip_z = False
    c.model.init = "xavier"
    c.model.bn_eps = 1e-5
    c.model.spectral_eps = 1e-8
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 4e-4
    c.optimizer.eps = 1e-8
    c.ema.start = 2000
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
