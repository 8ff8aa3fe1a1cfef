"""StyleGAN2-ADA on pictures of your own, as cfg=auto in NVlabs/stylegan2-ada-pytorch.

Paper row: none.
Hardware:  theirs: 1 to 8 GPUs. With this code: not yet measured.
Expected:  theirs: depends on the pictures. With this code: not yet measured.
Command:   biggan-train --config=modern/stylegan2_auto:512 --workdir=runs/own --config.data.dir=data/own

The number after the colon is the size of the pictures, by default 256. Settings follow it as theirs do with 8 GPUs. Prepare the
pictures first: biggan-prepare --from=folder --in=PICTURES --out=data/own --size=512.
"""

from biggan_jax.config import base, choose

SIZES = {str(8 << i): 8 << i for i in range(8)}


def get_config(size="256"):
    pixels = choose(SIZES, "the size of modern/stylegan2_auto", size)
    c = base("stylegan2")
    c.model.image_shape = (pixels, pixels, 3)
    c.model.channel_base = 32_768 if pixels >= 512 else 16_384
    c.model.mapping_layers = 2
    c.model.clamp = 256.0
    c.model.bfloat16_stages = 4
    c.batch_size = min(8 * min(4096 // pixels, 32), 64)
    c.num_steps = 25_000_000 // c.batch_size
    c.d_steps = 1
    c.loss = "non_saturating"
    c.regularizer.r1 = 0.0002 * pixels**2 / c.batch_size
    c.regularizer.every = 16
    c.optimizer.g_lr = 0.002 if pixels >= 1024 else 0.0025
    c.optimizer.d_lr = c.optimizer.g_lr
    c.optimizer.b2 = 0.99
    c.optimizer.eps = 1e-8
    c.ema.half_life = c.batch_size * 10_000 / 32
    c.ema.ramp = 0.05
    c.augment.ada = ("blit", "geometry", "colour")
    c.augment.target = 0.6
    c.data.name = "tfds"
    c.data.flip = True
    return c
