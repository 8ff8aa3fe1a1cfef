"""A BigGAN for your own pictures, at 16 to 512 pixels: training chooses from the set what is `auto`, and says it.

Paper row: none.
Hardware:  CPUs, one GPU or more, a TPU. The choices depend on the number of devices.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=auto --workdir=runs/mine --config.data.dir=data/mine

The rule is biggan_jax/config/own_data.py; see docs/small_data.md. A given key wins, and the others are chosen to suit it.
Pictures that are not RGB, not square, or have a condition of real numbers are drawn by SNGAN's networks.
"""

from biggan_jax.config import own_data


def get_config():
    return own_data.template()
