"""GANs in JAX and Flax: one training engine for BigGAN, BigGAN-deep and other families."""

from typing import TYPE_CHECKING, Any

from biggan_jax.runtime import startup

if TYPE_CHECKING:
    from biggan_jax.sampling.sampler import Sampler

__version__ = "0.1.0"

if module := startup.module_that_runs():
    startup.begin(module)  # Here, since a command's own package may import jax before its first line.


def load(path: str, **options: Any) -> "Sampler":
    """Load a trained model for sampling: `Sampler.from_pretrained(path, **options)`.

    path: a run's workdir or checkpoint, an exported model, or hf://OWNER/NAME. Raises UserError.
    """
    from biggan_jax.sampling.sampler import Sampler  # Here, so that importing the package alone imports no jax.

    return Sampler.from_pretrained(path, **options)
