"""Text to image at 64 pixels, GAN-INT-CLS, as in the authors' code (reedscot/icml2016) on CUB's birds.

Paper row: none: the paper reports no score of its images.
Hardware:  theirs: one GPU. With this code: not yet measured.
Expected:  inception score on CUB 2.88, measured by StackGAN's authors. With this code: not yet measured.
Command:   biggan-train --config=classic/text_to_image64 --workdir=runs/birds

Set --config.data.dir to a set that `biggan-prepare --from=captions --size=76 --embeddings=FILE` made. For captions without
embeddings, which a text encoder then learns with the images, add --config.model.condition_dim=0.
Steps: 600 epochs of 8,855 images. Both rates halve every 100 epochs. Theirs cuts 64 of 76 pixels at random; here images are
resized to 64.
"""

from biggan_jax.config import base


def get_config():
    c = base("text_to_image")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 64
    c.num_steps = 83_000
    c.model.condition_dim = 1024
    c.model.captions = 4
    c.optimizer.g_lr = 2e-4
    c.optimizer.d_lr = 2e-4
    c.optimizer.b1 = 0.5
    c.optimizer.eps = 1e-8
    c.schedule.lr = ",".join(f"constant:{0.5**i:g}:885500" for i in range(6))
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.flip = True
    return c
