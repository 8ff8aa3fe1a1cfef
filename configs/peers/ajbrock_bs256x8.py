"""BigGAN 128 on ImageNet as in BigGAN-PyTorch's launch_BigGAN_bs256x8.sh (ajbrock/BigGAN-PyTorch @ 9845943).

Paper row: BigGAN 128, with one D update per step, learning rates 1e-4 (G) and 4e-4 (D), no orthogonal penalty.
Hardware:  theirs: 8 V100, 15 days for 150,000 steps.
Expected:  theirs: IS 97.35 just before collapse (README), FID 9.77 at step 130,000 (log). With this code: not yet measured.
Command:   biggan-train --config=peers/ajbrock_bs256x8 --workdir=runs/ajbrock

The script trains until it is stopped; the released weights are from step 138,000. The batch is 8 microbatches of 256, and
the u vectors advance with each microbatch. The script does not pass cross_replica: each of its 8 GPUs normalises its own 32
images, and so do groups of 32 here, on any number of devices. No flips. Three differences remain. Running statistics are
averages over the 8 groups; there they are those of the first GPU. Biases start at zero here and uniform there. The EMA there
also covers buffers.
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
    c.model.bn_group = 32
    c.model.spectral_eps = 1e-6
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 4e-4
    c.ema.start = 20_000
    c.checkpoint_every = 1000
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
