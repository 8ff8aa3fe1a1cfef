"""Old name of `python -m biggan_jax.tools.grids`, kept for one version."""

import sys

from biggan_jax.tools.grids.__main__ import run

if __name__ == "__main__":
    print("python -m biggan_jax.sheets is now biggan-sheets; the old name is kept until version 0.3", file=sys.stderr)
    run()
