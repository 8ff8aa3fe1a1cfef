"""StudioGAN's BigGAN-2048: batch 2048 at 128 pixels (POSTECH-CVLab/PyTorch-StudioGAN @ 947b35e).

Paper row: BigGAN 128: FID 8.7, IS 98.8 without truncation at batch 2048.
Hardware:  theirs: GPUs, 30.6 days (shipped log).
Expected:  theirs: FID 7.78, IS 99.97 at step 196,000 (log). With this code: not yet measured.
Command:   biggan-train --config=peers/studiogan_biggan2048 --workdir=runs/studiogan2048

The batch is 512 x 4, so four microbatches. Not verified: that the u vectors advance with each microbatch, as they do in any
PyTorch forward pass.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 200_000
    c.batch_size = 2048
    c.microbatches = 4
    c.spectral_advance = "microbatch"
    c.d_steps = 2
    c.model.d_skip_relu = True
    c.model.bn_eps = 1e-4
    c.model.spectral_eps = 1e-6
    c.optimizer.g_lr = 5e-5
    c.optimizer.d_lr = 2e-4
    c.ema.start = 20_000
    c.data.flip = True
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
