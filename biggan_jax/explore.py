"""Old name of `python -m biggan_jax.tools.app`, kept for one version."""

import sys

from biggan_jax.tools.app.__main__ import run

if __name__ == "__main__":
    print("python -m biggan_jax.explore is now biggan-explore; the old name is kept until version 0.3", file=sys.stderr)
    run()
