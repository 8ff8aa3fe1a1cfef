"""SA-GAN at 128 pixels, the baseline that the paper starts from, as BigGAN-PyTorch's launch_SAGAN_bs128x2_ema.sh has it (@ 9845943).

Paper row: the baseline above BigGAN's ablations (Brock et al. 2019, Table 1; figures not copied here).
Hardware:  theirs: not stated.
Expected:  theirs: no figure. With this code: not yet measured.
Command:   python -m biggan_jax.main --config=peers/sagan_imagenet128 --workdir=runs/sagan

Unknown: its number of rounds; 150,000 is our default. The same blocks as BigGAN's, with an embedding in each batch norm, z in
the first layer alone, and 64 channels.
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
