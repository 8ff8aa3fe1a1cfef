"""The first GAN on MNIST, as in the authors' mnist.yaml (goodfeli/adversarial).

Paper row: log-likelihood by Parzen windows (Goodfellow et al. 2014, Table 1); not copied here.
Hardware:  theirs: not stated. With this code: not yet measured.
Expected:  no FID exists. With this code: not yet measured.
Command:   biggan-train --config=classic/gan_mnist --workdir=runs/gan_mnist

G's last bias starts at 0, theirs at the logits of the pixels' means.
"""

from biggan_jax.config import base


def get_config():
    c = base("gan")
    c.loss = "non_saturating"
    c.d_steps = 1
    c.batch_size = 100
    c.num_steps = 125_000  # 250 epochs of 50,000 images, over which momentum grows.
    c.optimizer.name = "sgd"
    c.optimizer.g_lr = 0.1
    c.optimizer.d_lr = 0.05  # Theirs is 0.1, on half of D's loss.
    c.optimizer.decay = "exponential"
    c.optimizer.decay_factor = 1 / 1.000004
    c.optimizer.least_lr = 1e-6
    c.optimizer.momentum = 0.5
    c.optimizer.last_momentum = 0.7
    c.optimizer.momentum_end = 125_000
    c.ema.decay = 0.0
    c.data.name = "tfds"
    c.data.dataset = "mnist"
    return c
