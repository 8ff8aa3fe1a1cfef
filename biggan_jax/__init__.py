"""GANs in JAX and Flax: one training engine for BigGAN, BigGAN-deep and other families."""

from biggan_jax.runtime import startup

__version__ = "0.1.0"

if module := startup.module_that_runs():
    startup.end_on_ctrl_c()  # Here, since a command's own package may import jax before its first line.
    startup.name_program(module)
    startup.import_jax()
