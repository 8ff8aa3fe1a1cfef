"""Latents z: the priors of Brock et al. 2019, App. E, and truncation."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from biggan_jax.config import choose
from biggan_jax.types import Latent, UserError

PRIORS: dict[str, Callable[[jax.Array, tuple[int, int]], jax.Array]] = {
    "normal": jax.random.normal,
    "uniform": lambda key, shape: jax.random.uniform(key, shape, minval=-1.0, maxval=1.0),
    "uniform_unit": lambda key, shape: jax.random.uniform(key, shape, minval=-math.sqrt(3), maxval=math.sqrt(3)),
    "uniform_01": jax.random.uniform,
    "bernoulli": lambda key, shape: jax.random.bernoulli(key, 0.5, shape).astype(jnp.float32),
    "sign": jax.random.rademacher,
    "censored_normal": lambda key, shape: jnp.maximum(jax.random.normal(key, shape), 0.0),
    "categorical": lambda key, shape: jax.random.randint(key, shape, -1, 2).astype(jnp.float32),
}
"""N(0, 1); U[-1, 1]; U[-sqrt 3, sqrt 3], of variance 1; U[0, 1]; {0, 1}; {-1, 1}; max(N(0, 1), 0); {-1, 0, 1}. Entries are
independent, values equally likely."""


def check_prior(prior: str, dim_z: int) -> None:
    """Raise UserError unless `draw` can draw `dim_z` entries from `prior`."""
    for name in prior.replace("|", "*").split("*"):
        choose(PRIORS, "model.prior", name)
    parts = prior.count("|") + 1
    if dim_z % parts:
        raise UserError(f"model.prior {prior!r} has {parts} parts, but model.dim_z {dim_z} is not divisible by {parts}")


@struct.dataclass
class Truncation:
    """Truncation of a normal z, which trades variety for fidelity (Brock et al. 2019, sec. 3.1), or of a StyleGAN's w.

    threshold: above 0, with kind w also 0; its meaning depends on `kind`, one of KINDS. cutoff: with kind w, the number of
    layers, from the first, whose w is truncated; 0: all.
    """

    threshold: float
    kind: str = struct.field(pytree_node=False, default="resample")
    cutoff: int = struct.field(pytree_node=False, default=0)

    def __str__(self) -> str:
        return f"{self.kind} {float(self.threshold):g}" + (f" of {self.cutoff} layers" if self.cutoff else "")


def allowed(threshold: float, kind: str) -> bool:
    """Return whether a threshold is finite, and above 0; with kind w it may be 0: all images are then that of the mean."""
    return 0 < threshold < math.inf or (threshold == 0 and kind == "w")


TRUNCATIONS: dict[str, Callable[[jax.Array, tuple[int, int], float], jax.Array]] = {
    # The paper's: draw entries beyond the threshold again, which yields the truncated normal distribution.
    "resample": lambda key, shape, t: jax.random.truncated_normal(key, -t, t, shape),
    # TF-Hub's and Hugging Face's; the batch-norm statistics of their models were measured with it.
    "scale": lambda key, shape, t: t * jax.random.truncated_normal(key, -2.0, 2.0, shape),
    # BigGAN-PyTorch's `z_var`, which is used as a standard deviation there.
    "std": lambda key, shape, t: t * jax.random.normal(key, shape),
}

Stored = tuple[float, str | None, int]
"""A truncation in a file: threshold, kind if the file has it, and cutoff."""

KINDS = (*TRUNCATIONS, "w")
"""Those of z, and w: G moves w towards its mean, to the share `threshold` of the distance (Karras et al. 2019, App. B)."""


def draw(prior: str, key: jax.Array, num: int, dim_z: int, truncation: Truncation | None = None) -> Latent:
    """Draw z, float32 [num, dim_z].

    `a*b` multiplies two priors entry by entry; `a|b` draws equal shares of the entries, in order: Brock et al. 2019, App. E,
    combine normal*bernoulli and normal|bernoulli. Raises UserError if another prior than normal is truncated.
    """
    if truncation is not None and truncation.kind != "w":
        if prior != "normal":
            raise UserError(f"truncation is defined for model.prior normal; this model's is {prior}")
        return choose(TRUNCATIONS, "truncation kind", truncation.kind)(key, (num, dim_z), truncation.threshold)
    parts = [part.split("*") for part in prior.split("|")]
    shape = num, dim_z // len(parts)
    keys = lambda key, num: [key] if num == 1 else list(jax.random.split(key, num))
    columns = []
    for part, part_key in zip(parts, keys(key, len(parts)), strict=True):
        z = jnp.ones(())
        for name, factor_key in zip(part, keys(part_key, len(part)), strict=True):
            z = z * PRIORS[name](factor_key, shape)
        columns.append(z.astype(jnp.float32))
    return jnp.concatenate(columns, axis=1)
