"""Old name of `python -m biggan_jax.tools.export`, kept for one version."""

import sys

from biggan_jax.tools.export.__main__ import run

if __name__ == "__main__":
    print("python -m biggan_jax.export is now biggan-export; the old name is kept until version 0.3", file=sys.stderr)
    run()
