"""Spectral normalisation as a pure function over a parameter tree (Miyato et al. 2018; Brock et al. 2019, sec. 3).

A parameter is normalised if and only if the tree of singular vectors has an entry for it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.types import Params

Rule = Callable[[tuple[str, ...]], bool]
"""Returns for a parameter's path, such as ('block_0', 'conv_1', 'kernel'), whether it is normalised."""

MAX_STACKED = 2**22
"""Weights of one shape with at most so many elements are stacked. BigGAN-deep has 177 weights: one by one, starting
thousands of tiny operations takes a tenth of a TPU's step. For larger weights the copy costs more than stacking saves."""

Vectors = dict[str, Params]
"""{"u": tree}, or {"u": tree, "v": tree} for a network that is evaluated with stored vectors; see `init`."""


def no_weights(path: tuple[str, ...]) -> bool:
    """Normalise nothing: the rule for a network without spectral normalisation, such as SN-GAN's G."""
    return False


def kernels(path: tuple[str, ...]) -> bool:
    """Normalise every kernel: the rule for G. Biases, class embeddings and attention's gamma are not normalised."""
    return path[-1] == "kernel"


def kernels_and_embeddings(path: tuple[str, ...]) -> bool:
    """Normalise every kernel and the class embedding of the projection: the rule for D."""
    return path[-1] in ("kernel", "embedding")


def init(params: Params, rule: Rule, key: jax.Array, *, keep_v: bool = False) -> Vectors:
    """Return a unit vector u for each parameter that `rule` selects, in a tree like `params`; with `keep_v` also v.

    As in the reference implementations, u has shape [out] for a kernel [..., in, out], and [classes] for an embedding
    [classes, features]. v has the other side's size.
    """
    weights = {path: weight for path, weight in sorted(flatten_dict(params).items()) if rule(path)}
    sizes = {path: as_matrix(path, weight).shape[1] for path, weight in weights.items()}
    # One draw for all vectors: XLA compiles each draw separately, and there are dozens of vectors.
    numbers = jax.random.normal(key, (sum(sizes.values()),))
    us, vs, start = {}, {}, 0
    for path, size in sizes.items():
        us[path] = _unit(numbers[start : start + size], 1e-12)
        if keep_v:
            vs[path] = _unit(_dot(as_matrix(path, weights[path]), us[path], axes=1), 1e-12)
        start += size
    return {"u": unflatten_dict(us)} | ({"v": unflatten_dict(vs)} if keep_v else {})


def normalize(params: Params, vectors: Vectors, *, eps: float = 1e-4, iterations: int = 1) -> tuple[Params, Vectors]:
    """Return (params / sigma, new vectors); sigma estimates the largest singular value of each weight that has a u.

    Computes in float32 and at full multiplication precision, whatever the compute dtype; TPUs otherwise multiply in
    bfloat16. Gradients flow through sigma = v W u', but not through u' and v.

    eps: the least norm by which a vector is divided; the paper has 1e-4, for low precision (App. B). iterations: power steps.
    """
    weights = flatten_dict(params)
    old_us, new_us, new_vs = flatten_dict(vectors["u"]), {}, {}
    power_steps = jax.vmap(functools.partial(_power_steps, eps=eps, iterations=iterations))
    for paths in group_by_shape({path: weights[path] for path in sorted(old_us)}):
        stacked = jnp.stack([outputs_last(path, weights[path]) for path in paths])
        us = jnp.stack([old_us[path] for path in paths])
        us, vs, sigmas = power_steps(jax.lax.stop_gradient(stacked), us)
        for path, weight, u, v in zip(paths, jax.vmap(_over_sigma)(stacked, sigmas, us, vs), us, vs, strict=True):
            weights[path] = outputs_last(path, weight).astype(weights[path].dtype)
            new_us[path], new_vs[path] = u, v.reshape(-1)
    new = {"u": unflatten_dict(new_us)} | ({"v": unflatten_dict(new_vs)} if "v" in vectors else {})
    return unflatten_dict(weights), new


def group_by_shape(weights: dict[tuple[str, ...], jax.Array]) -> list[list[tuple[str, ...]]]:
    """Group the paths of small weights of equal shape, to be stacked; a large weight has a group of its own."""
    groups: dict[tuple, list] = {}
    for path, weight in weights.items():
        alone = path if weight.size > MAX_STACKED else ()
        groups.setdefault((weight.shape, path[-1], alone), []).append(path)
    return list(groups.values())


def normalize_stored(params: Params, vectors: Vectors) -> Params:
    """Return params / sigma for sigma = v W u of the stored vectors: PyTorch's spectral norm in evaluation, no power step."""
    weights, vs = flatten_dict(params), flatten_dict(vectors["v"])
    for path, u in flatten_dict(vectors["u"]).items():
        last = outputs_last(path, weights[path])
        v = vs[path].reshape(last.shape[:-1])
        sigma = _dot(_dot(v, last, axes=v.ndim), u, axes=1)
        weights[path] = outputs_last(path, _over_sigma(last, sigma, u, v)).astype(weights[path].dtype)
    return unflatten_dict(weights)


def _power_steps(weight: jax.Array, u: jax.Array, *, eps: float, iterations: int):
    """Return the next u [out], v [..., in] and sigma = v W u, for weight [..., in, out] and u [out]."""
    # Axes are not merged, since a reshape would move a sharded weight between devices. Vectors are multiplied first and
    # scaled afterwards: each division less saves a TPU hundreds of operations a step. In float32 this is accurate for
    # singular values from about 1e-9 to 1e9.
    for _ in range(iterations):
        v = _dot(weight, u, axes=1)
        v_scale = 1 / jnp.maximum(_length(v), eps)
        u = _dot(v, weight, axes=v.ndim)
        length = _length(u) * v_scale  # The length of v W for the unit vector v.
        u_scale = 1 / jnp.maximum(length, eps)
        u = u * (v_scale * u_scale)
    return u, v * v_scale, jnp.square(length) * u_scale


@jax.custom_vjp
def _over_sigma(weight: jax.Array, sigma: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    """Return weight / sigma. The gradient includes that of sigma = v W u, for constant u and v."""
    return weight / sigma


def _over_sigma_gradient(kept, g):
    # (g - <g, W / sigma> v u^T) / sigma (Miyato et al. 2018, eq. 12). Automatic differentiation would compute v u^T as a
    # matrix product at full precision, a tenth of BigGAN's step on a TPU; an elementwise product fuses with what follows.
    weight, sigma, u, v = kept
    along = jnp.sum(g * weight) / sigma
    return (g - along * (v[..., None] * u)) / sigma, None, None, None


_over_sigma.defvjp(lambda *arguments: (_over_sigma(*arguments), arguments), _over_sigma_gradient)


def _dot(a: jax.Array, b: jax.Array, *, axes: int) -> jax.Array:
    return jnp.tensordot(a, b, axes=axes, precision=jax.lax.Precision.HIGHEST)


def _unit(x: jax.Array, eps: float) -> jax.Array:
    return x / jnp.maximum(_length(x), eps)


def _length(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)))


def as_matrix(path: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """Return the weight as the float32 matrix [in, out] whose largest singular value is normalised."""
    weight = outputs_last(path, weight)
    return weight.reshape(-1, weight.shape[-1])


def outputs_last(path: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """Return the weight in float32 with u's axis last: an embedding is transposed, other weights are not."""
    weight = weight.astype(jnp.float32)
    return weight.T if path[-1] == "embedding" else weight
