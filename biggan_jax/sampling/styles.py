"""The w's of StyleGANs, [N, styles, dim_w], one for each layer. A sampler takes them in place of z."""

import dataclasses
import functools

import jax
import numpy as np

from biggan_jax.family import Family
from biggan_jax.models.style import StyleGAN
from biggan_jax.sampling import generate
from biggan_jax.sampling.ranges import parse_range
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sharding import constrain_batch
from biggan_jax.types import Label, Latent, Params, UserError

FIXED = np.array([0, 1], np.float32)
"""Noise is that of the fixed maps alone; see stylegan2.Noise."""


def has_w(gan: Family) -> bool:
    """Return whether the model maps z to w."""
    return isinstance(gan, StyleGAN)


def check(gan: Family, what: str) -> StyleGAN:
    """Return the GAN. Raises UserError, which says that `what` needs w, if it has none."""
    if not isinstance(gan, StyleGAN):
        raise UserError(f"{what} needs w, which families stylegan and stylegan2 have, and this model has not")
    return gan


def ws_of(sampler: Sampler, z: Latent, y: Label, batch_size: int = 64) -> np.ndarray:
    """Return the w's of z [N, dim_z] and y [N], float32 [N, styles, dim_w], before truncation. Raises UserError without w."""
    gan = check(sampler.gan, "this")
    batches = generate.batches_of(gan, z, y, batch_size)
    return np.concatenate([np.asarray(_ws(gan, sampler.weights, sampler.variables, *b))[:n] for *b, n in batches])


@functools.partial(jax.jit, static_argnums=0)
def _ws(gan: StyleGAN, weights: Params, variables: dict[str, Params], z: Latent, y: Label) -> jax.Array:
    return gan.gather(gan.ws(weights, variables, constrain_batch(z, gan.mesh), constrain_batch(y, gan.mesh)))


def with_fixed_noise(sampler: Sampler) -> Sampler:
    """Return the sampler whose noise is the same for all images: what differs between them is then due to their latents.

    A sampler of a model without w is returned as it is.
    """
    if not has_w(sampler.gan):
        return sampler
    sampling = {**sampler.variables.get("sampling", {}), "mix": FIXED}
    return dataclasses.replace(sampler, variables={**sampler.variables, "sampling": sampling})


def parse_layers(given: list[str] | None, styles: int, default: int) -> np.ndarray:
    """Parse --layers, such as 0-3 or 0,2,4-5, to bool [styles]; by default the first `default`. Raises UserError."""
    if given is None:
        return np.arange(styles) < default
    chosen = np.zeros(styles, bool)
    for text in given:
        numbers = parse_range(text)
        if numbers is None or numbers[-1] >= styles:
            raise UserError(f"--layers: {text!r} is no layer or range from 0 to {styles - 1}, such as 0-{styles // 2}")
        chosen[numbers.start : numbers.stop] = True
    return chosen
