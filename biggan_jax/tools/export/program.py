"""A trained G as one StableHLO program, which runs with jax alone."""

import importlib.util
from collections.abc import Callable, Sequence

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import Image, Label, Latent, Params, UserError

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
MAX_BYTES = 2**31  # Of weights: a serialized program cannot be larger.


def check_platforms(platforms: Sequence[str]) -> None:
    """Raise UserError unless these are platforms of jax, each named once."""
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms or len(set(platforms)) < len(platforms):
        wrong = f"has the unknown platform {unknown[0]!r}" if unknown else "must name platforms, each once"
        raise UserError(f"--platforms={','.join(platforms)} {wrong}; use any of {', '.join(PLATFORMS)}")


def check_installed() -> None:
    """Raise UserError unless the package is installed with which jax writes and reads programs."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError("jax writes programs with flatbuffers, which is missing: pip install 'biggan-jax[program]'")


def serialize(samplers: Sequence[Sampler], platforms: Sequence[str]) -> bytes:
    """Return the program that `jax.export.deserialize` reads: (z, y, truncation) to float32 images in [-1, 1].

    z: float32 [B, dim_z], as G takes it, so already truncated. y: int32 [B], float32 [B, k] for conditions of real numbers, or
    int32 [B, L] for bytes of texts.
    truncation: float32, which chooses among the samplers' batch-norm statistics, as in the released BigGANs on TF-Hub: those of
    a sampler at its threshold, interpolated linearly between two, and at infinity those without truncation.

    samplers: of one model; the first without truncation, or with the largest threshold; the others in any order. The batch
    size B is free. The weights are constants of the program. Raises UserError.
    """
    gan, weights = samplers[0].gan, jax.device_get(samplers[0].weights)
    size = sum(array.nbytes for array in jax.tree.leaves(weights))
    if size >= MAX_BYTES:
        raise UserError(
            f"the weights have {size:,} bytes, and a program holds less than {MAX_BYTES:,}; export the model"
        )
    variables = jax.device_get(samplers[0].variables)
    choose = _chooser(samplers)

    def draw(z: Latent, y: Label, truncation: jax.Array) -> Image:
        own = {**variables, "batch_stats": choose(truncation)} if "batch_stats" in variables else variables
        # Without a barrier, the compiler would fold constants, with other rounding than of weights that are arguments.
        params, own = jax.lax.optimization_barrier((weights, own))
        return gan.sample(params, own, z, y)

    (batch,) = jax.export.symbolic_shape("batch")
    of_data, is_text = gan.condition.of_data, gan.condition.kind == "text"
    y = (batch, gan.condition.size) if of_data else (batch,)
    arguments = (
        jax.ShapeDtypeStruct((batch, gan.dim_z), jnp.float32),
        jax.ShapeDtypeStruct(y, jnp.float32 if of_data and not is_text else jnp.int32),
        jax.ShapeDtypeStruct((), jnp.float32),
    )
    return bytes(jax.export.export(jax.jit(draw), platforms=tuple(platforms))(*arguments).serialize())


def _chooser(samplers: Sequence[Sampler]) -> Callable[[jax.Array], Params]:
    """Return the function from a truncation to batch-norm statistics."""
    default = samplers[0].variables.get("batch_stats", {})
    by_threshold = {s.truncation.threshold: s.variables["batch_stats"] for s in samplers if s.truncation and default}
    if not by_threshold:
        return lambda truncation: default
    thresholds = np.array(sorted(by_threshold), np.float32)
    rows = jax.device_get(jax.tree.map(lambda *each: jnp.stack(each), *(by_threshold[t] for t in sorted(by_threshold))))
    default = jax.device_get(default)

    def choose(truncation: jax.Array) -> Params:
        place = jnp.interp(truncation, thresholds, np.arange(len(thresholds), dtype=np.float32))
        low = jnp.floor(place).astype(jnp.int32)
        share, high = place - low, jnp.minimum(low + 1, len(thresholds) - 1)
        between = lambda own, rows: jnp.where(
            jnp.isinf(truncation), own, jnp.asarray(rows)[low] * (1 - share) + jnp.asarray(rows)[high] * share
        )
        return jax.tree.map(between, default, rows)

    return choose
