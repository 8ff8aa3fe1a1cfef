"""Old name of `python -m biggan_jax.tools.edit`, kept for one version."""

import sys

from biggan_jax.tools.edit.__main__ import run

if __name__ == "__main__":
    print("python -m biggan_jax.edit is now biggan-edit; the old name is kept until version 0.3", file=sys.stderr)
    run()
