"""Old name of `biggan-sheets`, until version 0.3.0."""

from biggan_jax.runtime import startup
from biggan_jax.tools.grids.__main__ import run

if __name__ == "__main__":
    startup.warn_of_old_name("biggan_jax.sheets", "biggan-sheets")
    run()
