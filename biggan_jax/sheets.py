"""Old name of `python -m biggan_jax.tools.grids`, kept for one version."""

import sys

from biggan_jax.tools.grids.__main__ import run

if __name__ == "__main__":
    print("biggan_jax.sheets is now biggan_jax.tools.grids; the old name goes in version 0.3", file=sys.stderr)
    run()
