"""BigGAN and BigGAN-deep in JAX and Flax."""

__version__ = "0.1.0"
