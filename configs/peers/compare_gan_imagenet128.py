"""BigGAN 128 on ImageNet as in compare_gan's biggan_imagenet128.gin (google/compare_gan @ 19922d3).

Paper row: BigGAN 128. Its docstring says that it reproduces the paper's FID; its users did not.
Hardware:  theirs: TPU v3-128, time not stated.
Expected:  theirs: no figure. With this code: not yet measured.
Command:   biggan-train --config=peers/compare_gan_imagenet128 --workdir=gs://BUCKET/compare_gan --multihost

Differences: gains without the leading 1 (a defect there), Glorot-normal initialization of the projection, distorted crops in
training (here central ones), images in [0, 1]. Its batch-norm accumulators are our standing statistics; it has no use for
bn_momentum.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.num_steps = 250_000
    c.batch_size = 2048
    c.d_steps = 2
    c.model.bn_eps = 1e-5
    c.model.spectral_eps = 1e-12
    c.optimizer.g_lr = 1e-4
    c.optimizer.d_lr = 5e-4
    c.optimizer.eps = 1e-8
    c.ema.start = 40_000
    c.checkpoint_every = 2500
    c.data.name = "tfds"
    c.data.dataset = "imagenet2012"
    return c
