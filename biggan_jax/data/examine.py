"""Old name of `python -m biggan_jax.data.validate`, kept for one version."""

import sys

from biggan_jax.data.validate import run

if __name__ == "__main__":
    print("biggan_jax.data.examine is now biggan_jax.data.validate; the old name goes in version 0.3", file=sys.stderr)
    run()
