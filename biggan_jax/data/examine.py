"""Old name of `python -m biggan_jax.data.validate`, kept for one version."""

import sys

from biggan_jax.data.validate import run

if __name__ == "__main__":
    print(
        "python -m biggan_jax.data.examine is now python -m biggan_jax.data.validate; the old name is kept until version 0.3",
        file=sys.stderr,
    )
    run()
