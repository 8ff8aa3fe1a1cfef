"""Owns spectral normalisation, a pure function over a parameter tree (Miyato et al. 2018; Brock et al. 2019, sec. 3).

It must not know modules: the trees of singular vectors say which parameters are normalised, and nothing else does.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from biggan_jax.types import Params

Rule = Callable[[tuple[str, ...]], bool]
"""Says for a parameter's path, such as ('block_0', 'conv_1', 'kernel'), whether it is normalised."""


Vectors = dict[str, Params]
"""{"u": tree}, or {"u": tree, "v": tree} for a network that is evaluated with stored vectors; trees as `init` makes them."""


def nothing(path: tuple[str, ...]) -> bool:
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
    sizes = {path: as_matrix(path, weight).shape[1] for path, weight in _leaves(params) if rule(path)}
    # One draw for all: XLA compiles each draw anew, and there are dozens of u-vectors.
    numbers = jax.random.normal(key, (sum(sizes.values()),))
    vectors: Vectors = {"u": {}, "v": {}} if keep_v else {"u": {}}
    start = 0
    for path, size in sizes.items():
        u = _unit(numbers[start : start + size], 1e-12)
        _set(vectors["u"], path, u)
        if keep_v:
            _set(vectors["v"], path, _unit(_dot(as_matrix(path, _get(params, path)), u), 1e-12))
        start += size
    return vectors


def normalize(params: Params, vectors: Vectors, *, eps: float = 1e-4, iterations: int = 1) -> tuple[Params, Vectors]:
    """Returns (params / sigma, new vectors): what has a u is divided by the estimate of its largest singular value.

    One power step an `iteration`; float32 and full multiplication precision, whatever the compute dtype, since TPUs
    otherwise multiply in bfloat16. Gradients flow through sigma = v W u' but not through u' and v. `eps` bounds from
    below the norm by which a vector is divided; 1e-4 is the paper's, for low precision (App. B).
    """
    weights = jax.tree.map(lambda w: w, params)
    new: Vectors = {name: {} for name in vectors}
    for path, u in _leaves(vectors["u"]):
        weight = _get(params, path)
        matrix = as_matrix(path, weight)
        u, v = _power_steps(jax.lax.stop_gradient(matrix), u, eps, iterations)
        _set(weights, path, weight / _sigma(matrix, u, v))
        _set(new["u"], path, u)
        if "v" in new:
            _set(new["v"], path, v)
    return weights, new


def normalize_stored(params: Params, vectors: Vectors) -> Params:
    """params / sigma, with sigma = v W u of the vectors as they are, no power step: PyTorch's own spectral norm in evaluation."""
    weights = jax.tree.map(lambda w: w, params)
    for path, u in _leaves(vectors["u"]):
        weight = _get(params, path)
        _set(weights, path, weight / _sigma(as_matrix(path, weight), u, _get(vectors["v"], path)))
    return weights


def _power_steps(matrix: jax.Array, u: jax.Array, eps: float, iterations: int) -> tuple[jax.Array, jax.Array]:
    """matrix [in, out], u [out]: the next u [out] and v [in]."""
    for _ in range(iterations):
        v = _unit(_dot(matrix, u), eps)
        u = _unit(_dot(v, matrix), eps)
    return u, v


def _sigma(matrix: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    return _dot(_dot(v, matrix), u)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _unit(x: jax.Array, eps: float) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x), eps)


def as_matrix(path: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """The weight as the [in, out] float32 matrix whose singular values count."""
    weight = weight.astype(jnp.float32)
    return weight.T if path[-1] == "embedding" else weight.reshape(-1, weight.shape[-1])


def _leaves(tree: Params, prefix: tuple[str, ...] = ()):
    for name in sorted(tree):
        if isinstance(tree[name], dict):
            yield from _leaves(tree[name], (*prefix, name))
        else:
            yield (*prefix, name), tree[name]


def _get(tree: Params, path: tuple[str, ...]):
    for name in path:
        tree = tree[name]
    return tree


def _set(tree: Params, path: tuple[str, ...], value) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
