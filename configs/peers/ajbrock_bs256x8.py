"""BigGAN-PyTorch's launch_BigGAN_bs256x8.sh (ajbrock/BigGAN-PyTorch @ 9845943): BigGAN 128 on ImageNet.

Paper row: BigGAN 128, with other rates: D is updated once a round, G 1e-4, D 4e-4, no orthogonal penalty.
Hardware:  theirs: 8 V100, 15 days to 150,000 rounds.
Expected:  theirs: IS 97.35 just before collapse (README), FID 9.77 at 130,000 (their log). With this code: not yet measured.
Command:   python -m biggan_jax.main --config=peers/ajbrock_bs256x8 --workdir=runs/ajbrock

Its script trains until stopped: 138,000 rounds were released. 8 microbatches of 256: batch norm sees 256 images and
u-vectors advance with each. No flips. Biases start at zero here, uniform there; its average covers buffers too.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 138_000
    c.batch_size = 2048
    c.microbatches = 8
    c.spectral_advance = "microbatch"
    c.d_steps = 1
    c.model.bn_eps = 1e-5
    c.model.spectral_eps = 1e-6
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 4e-4
    c.ema.start = 20_000
    c.checkpoint_every = 1000
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
