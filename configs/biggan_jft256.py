"""BigGAN at 256x256 pixels on a JFT-like data set: the paper's 256-pixel ImageNet recipe on other data.

Paper row: BigGAN 256 on JFT-300M (Brock et al. 2019, Table 3): ch 64, 96 and 128 (from memory).
Hardware:  unknown. With this code: not yet measured.
Expected:  unknown. With this code: not yet measured.
Command:   biggan-train --config=biggan_jft256 --workdir=gs://BUCKET/jft --multihost
           --config.data.dataset=BUILDER --config.model.num_classes=N

The paper's part of JFT-300M has 292 million images of 8,500 classes (from memory: the paper says that 18,000 classes are cut to
the 8,500 most common). It is not public: set data.dataset and
model.num_classes for your data, and model.ch to one of the paper's widths (here 96). The learning rates, the number of steps,
the truncation and the strength of the orthogonal penalty are unknown; they are the ImageNet recipe's.
"""

from biggan_jax.config import base


def get_config():
    c = base()
    c.dtype = "bfloat16"
    c.model.resolution = 256
    c.model.dim_z = 140  # 7 chunks of 20.
    c.model.g_attention = (128,)
    c.regularizer.g_ortho = 1e-4
    c.data.name = "tfds"
    return c
