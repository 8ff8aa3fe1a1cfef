"""Spectral normalisation as a pure function over a parameter tree (Miyato et al. 2018; Brock et al. 2019, sec. 3).

The trees of singular vectors say which parameters are normalised, and nothing else does.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.types import Params

Rule = Callable[[tuple[str, ...]], bool]
"""Says for a parameter's path, such as ('block_0', 'conv_1', 'kernel'), whether it is normalised."""


MAX_STACKED = 2**22
"""Elements up to which weights of one shape are worked through at once. BigGAN-deep has 177, cut in parts over the devices:
one by one, a tenth of a TPU's step is the start of thousands of tiny operations. Larger ones are not worth the copy."""

Vectors = dict[str, Params]
"""{"u": tree}, or {"u": tree, "v": tree} for a network that is evaluated with stored vectors; trees as `init` makes them."""


def no_weights(path: tuple[str, ...]) -> bool:
    """The rule for a network without spectral normalisation, such as the G of SN-GAN."""
    return False


def kernels(path: tuple[str, ...]) -> bool:
    """The rule for G: every kernel; neither biases, nor the shared class embedding, nor attention's gamma."""
    return path[-1] == "kernel"


def kernels_and_embeddings(path: tuple[str, ...]) -> bool:
    """The rule for D: every kernel, and the class embedding of its projection."""
    return path[-1] in ("kernel", "embedding")


def init(params: Params, rule: Rule, key: jax.Array, *, keep_v: bool = False) -> Vectors:
    """Returns unit vectors u, one for each parameter that `rule` picks, in a tree shaped like `params`; with `keep_v` v too.

    u lies on the output-features side of a kernel [..., in, out], shape [out], and on the class side of an
    embedding [classes, features], shape [classes]: the sides that the reference implementations use. v lies on the other.
    """
    weights = {path: weight for path, weight in sorted(flatten_dict(params).items()) if rule(path)}
    sizes = {path: as_matrix(path, weight).shape[1] for path, weight in weights.items()}
    # One draw for all: XLA compiles each draw anew, and there are dozens of u-vectors.
    numbers = jax.random.normal(key, (sum(sizes.values()),))
    us, vs, start = {}, {}, 0
    for path, size in sizes.items():
        us[path] = _unit(numbers[start : start + size], 1e-12)
        if keep_v:
            vs[path] = _unit(_dot(as_matrix(path, weights[path]), us[path], axes=1), 1e-12)
        start += size
    return {"u": unflatten_dict(us)} | ({"v": unflatten_dict(vs)} if keep_v else {})


def normalize(params: Params, vectors: Vectors, *, eps: float = 1e-4, iterations: int = 1) -> tuple[Params, Vectors]:
    """Returns (params / sigma, new vectors): what has a u is divided by the estimate of its largest singular value.

    One power step an `iteration`; float32 and full multiplication precision, whatever the compute dtype, since TPUs
    otherwise multiply in bfloat16. Gradients flow through sigma = v W u' but not through u' and v. `eps` bounds from
    below the norm by which a vector is divided; 1e-4 is the paper's, for low precision (App. B).
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
    """The weights' paths in groups that are worked through at once: small ones of one shape."""
    groups: dict[tuple, list] = {}
    for path, weight in weights.items():
        alone = path if weight.size > MAX_STACKED else ()
        groups.setdefault((weight.shape, path[-1], alone), []).append(path)
    return list(groups.values())


def normalize_stored(params: Params, vectors: Vectors) -> Params:
    """params / sigma, with sigma = v W u of the vectors as they are, no power step: PyTorch's own spectral norm in evaluation."""
    weights, vs = flatten_dict(params), flatten_dict(vectors["v"])
    for path, u in flatten_dict(vectors["u"]).items():
        last = outputs_last(path, weights[path])
        v = vs[path].reshape(last.shape[:-1])
        sigma = _dot(_dot(v, last, axes=v.ndim), u, axes=1)
        weights[path] = outputs_last(path, _over_sigma(last, sigma, u, v)).astype(weights[path].dtype)
    return unflatten_dict(weights)


def _power_steps(
    weight: jax.Array, u: jax.Array, *, eps: float, iterations: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """weight [..., in, out], u [out]: the next u [out] and v [..., in], and sigma = v W u."""
    # No axis is merged with another: a weight that lies in parts on several devices would have to move. Vectors are
    # multiplied first and scaled afterwards: for each division less, a TPU starts hundreds of operations less a step.
    # float32 bears that for singular values from about 1e-9 to 1e9.
    for _ in range(iterations):
        v = _dot(weight, u, axes=1)
        v_scale = 1 / jnp.maximum(_length(v), eps)
        u = _dot(v, weight, axes=v.ndim)
        length = _length(u) * v_scale  # Of v W, with v a unit vector.
        u_scale = 1 / jnp.maximum(length, eps)
        u = u * (v_scale * u_scale)
    return u, v * v_scale, jnp.square(length) * u_scale


@jax.custom_vjp
def _over_sigma(weight: jax.Array, sigma: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    """weight / sigma, where sigma = v W u, through which the gradient flows. u and v count as constants."""
    return weight / sigma


def _over_sigma_gradient(kept, g):
    # (g - <g, W / sigma> v u^T) / sigma (Miyato et al. 2018, eq. 12). Left to differentiation, v u^T is a matrix product at
    # full precision, a tenth of BigGAN's step on a TPU; so it is a product of elements, part of what follows it.
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
    """The weight as the [in, out] float32 matrix whose singular values count."""
    weight = outputs_last(path, weight)
    return weight.reshape(-1, weight.shape[-1])


def outputs_last(path: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """float32, with the side of u as its last axis: an embedding, and no other, is transposed."""
    weight = weight.astype(jnp.float32)
    return weight.T if path[-1] == "embedding" else weight
