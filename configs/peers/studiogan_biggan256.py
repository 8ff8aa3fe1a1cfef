"""StudioGAN's BigGAN-256: batch 256 at 128 pixels (POSTECH-CVLab/PyTorch-StudioGAN @ 947b35e).

Paper row: BigGAN 128 at batch 256: FID 22.77, IS 38.05 (as StudioGAN's figure credits the paper).
Hardware:  theirs: GPUs, 7.1 days (shipped log).
Expected:  theirs: FID 24.7 (log), 20.6 and 16.4 (two figures) for this one recipe. With this code: not yet measured.
Command:   biggan-train --config=peers/studiogan_biggan256 --workdir=runs/studiogan256
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 200_000
    c.batch_size = 256
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
