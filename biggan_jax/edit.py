"""Old name of `biggan-edit`, until version 0.3.0."""

from biggan_jax.runtime import startup
from biggan_jax.tools.edit.__main__ import run

if __name__ == "__main__":
    startup.warn_of_old_name("biggan_jax.edit", "biggan-edit")
    run()
