"""BigGAN at 32x32 pixels on CIFAR-10, with the paper's ImageNet settings (Table 1, row 8, from memory).

Paper row: IS 9.22, FID 14.73 without truncation, with the settings of Table 1, row 8 (App. C.2, from memory).
Hardware:  the paper's: not stated. With this code: not yet measured.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=biggan_cifar10_paper --workdir=runs/cifar10 --config.data.dir=DIR

Row 8 (from memory): batch 2048, ch 96, a shared embedding, skip-z, and the orthogonal penalty on G.
Not stated for CIFAR-10: the channels at 32 pixels (here BigGAN-PyTorch's), attention (here none), the length of z
(here 4 chunks of 20, as at 128 pixels), the number of steps, flips (here none) and Adam's eps (here 1e-6).
biggan_cifar10 is StudioGAN's recipe, peers/ajbrock_cifar BigGAN-PyTorch's.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 32
    c.model.num_classes = 10
    c.model.ch = 96
    c.model.dim_z = 80  # 4 chunks of 20.
    c.model.g_attention = ()
    c.model.d_attention = ()
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    c.data.dataset = "cifar10"
    return c
