"""Old name of `biggan-validate`, until version 0.3.0."""

from biggan_jax.data.validate import run
from biggan_jax.runtime import startup

if __name__ == "__main__":
    startup.warn_of_old_name("biggan_jax.data.examine", "biggan-validate")
    run()
