"""Old name of `python -m biggan_jax.tools.app`, kept for one version."""

import sys

from biggan_jax.tools.app.__main__ import run

if __name__ == "__main__":
    print("biggan_jax.explore is now biggan_jax.tools.app; the old name goes in version 0.3", file=sys.stderr)
    run()
