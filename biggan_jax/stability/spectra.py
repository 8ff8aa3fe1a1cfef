"""Leading singular values of normalised weights, which foretell collapse (Brock et al. 2019, sec. 4.1)."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from biggan_jax.layers import spectral
from biggan_jax.sharding import gather
from biggan_jax.types import Params

STEPS = 24
"""Products with W^T W in a Krylov basis. For random matrices with 1,536 columns the error of the third value is up to 3e-3 after
16 products, mostly below 1e-4 after 24."""

SQUARINGS = 16
"""The method separates two eigenvalues that differ by more than one part in 2**16; of closer ones it returns either."""

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Basis(NamedTuple):
    """Rows that span the leading right singular vectors. rows: [m, p, n]; gram: rows W^T W rows^T, [m, p, p]."""

    rows: jax.Array
    gram: jax.Array


def top_singular_values(
    params: Params, vectors: spectral.Vectors, k: int = 3, mesh: Mesh | None = None
) -> dict[str, jax.Array]:
    """Compute the k largest singular values of each weight that has a u-vector.

    Matrices whose smaller side is at most (k + 1) STEPS are decomposed completely. Larger ones use a block Krylov basis with
    Rayleigh-Ritz (Musco and Musco 2015), whose values are never too large. Their error, relative to the first value, is 1e-5
    if values are separated or equal, and 1e-3 if hundreds are close to the k-th. Values below 1e-3 of the first have no
    relative accuracy. Pure; float32 at full multiplication precision.

    params: raw weights, read as the matrices that spectral norm divides by sigma. vectors: those of spectral norm. mesh: the
    mesh on which weights are sharded; they stay sharded, their factors are replicated. Returns {"block_0.conv_1.kernel":
    float32 [k], ...}, largest first; 0 beyond a matrix's smaller side.
    """
    weights = flatten_dict(params)
    groups = spectral.group_by_shape({path: weights[path] for path in flatten_dict(vectors["u"])})
    stacks = [jnp.stack([spectral.outputs_last(path, weights[path]) for path in paths]) for paths in groups]
    if not stacks:
        return {}
    size = (k + 1) * STEPS
    large = [i for i, stack in enumerate(stacks) if _side(stack) > size]
    bases = {i: _complete(stack, size, mesh) for i, stack in enumerate(stacks) if i not in large}
    bases |= dict(zip(large, _krylov([stacks[i] for i in large], k + 1, mesh), strict=True))
    # One call for all: each call is a loop, and loops are slow to start.
    leading = _leading(jnp.concatenate([bases[i].gram for i in range(len(stacks))]), k)
    values, start = {}, 0
    for i, (paths, stack) in enumerate(zip(groups, stacks, strict=True)):
        end = start + len(paths)
        rights = _einsum("mkp,mpn->mkn", leading[start:end], bases[i].rows)
        for path, found in zip(paths, jax.vmap(_lengths)(stack, _scales(stack), rights), strict=True):
            values[".".join(path)] = found
        start = end
    return values


def _complete(stack: jax.Array, size: int, mesh: Mesh | None) -> Basis:
    """Return the identity as a basis, padded with zeros to `size`."""
    side = _side(stack)
    every = jnp.broadcast_to(jnp.eye(side), (stack.shape[0], side, side))
    gram = gather(jax.vmap(_squared)(stack, _scales(stack), every), mesh)
    fill = (0, size - side)
    return Basis(jnp.pad(every, ((0, 0), fill, (0, 0))), jnp.pad(gram, ((0, 0), fill, fill)))


def _krylov(stacks: list[jax.Array], block: int, mesh: Mesh | None) -> list[Basis]:
    """Return orthonormal rows X, X W^T W, X (W^T W)^2, ... for `block` random rows X, which find values of that multiplicity.

    All weights share one loop, padded with zeros to the longest side: on a TPU the number of operations counts.
    """
    if not stacks:
        return []
    counts, sides, longest = [len(stack) for stack in stacks], [*map(_side, stacks)], max(map(_side, stacks))
    scales = [*map(_scales, stacks)]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    size, total = block * STEPS, sum(counts)

    def parts(rows):
        return [rows[start : start + count, :, :side] for start, count, side in zip(starts, counts, sides, strict=True)]

    def joined(parts):
        fill = lambda rows: jnp.pad(rows, ((0, 0), (0, 0), (0, longest - rows.shape[2])))
        return jnp.concatenate([*map(fill, parts)])

    def step(i, carry):
        rows, gram, new = carry
        new = _orthonormal(_orthonormal(new, rows, least=0.0), rows, least=0.5)
        rows = jax.lax.dynamic_update_slice(rows, new, (0, i * block, 0))
        new = joined(gather([*map(jax.vmap(_squared), stacks, scales, parts(new))], mesh))
        gram = jax.lax.dynamic_update_slice(gram, _einsum("mbn,mpn->mbp", new, rows), (0, i * block, 0))
        return gather((rows, gram, new), mesh)

    first = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (block, longest)), (total, block, longest))
    begin = jnp.zeros((total, size, longest)), jnp.zeros((total, size, size)), joined(parts(first))
    rows, gram, _ = jax.lax.fori_loop(0, STEPS, step, gather(begin, mesh))
    # Each row of the Gram matrix was computed before later rows existed.
    gram = jnp.tril(gram) + jnp.swapaxes(jnp.tril(gram, -1), 1, 2)
    grams = [gram[start : start + count] for start, count in zip(starts, counts, strict=True)]
    return [*map(Basis, parts(rows), grams)]


def _leading(gram: jax.Array, k: int) -> jax.Array:
    """Return the eigenvectors [m, k, p] of the k largest eigenvalues of each positive semidefinite gram [m, p, p].

    Repeated squaring of the matrix converges to the projection on the first eigenvector; then the next one follows. This
    needs products only. `eigh` deadlocks on several devices of one CPU.
    """
    found: list[jax.Array] = []
    for _ in range(k):
        square = lambda _, power: _unit_trace(_einsum("mpq,mqr->mpr", power, power))
        power = jax.lax.fori_loop(0, SQUARINGS, square, _unit_trace(gram))
        column = jnp.argmax(jnp.diagonal(power, axis1=1, axis2=2), axis=1)[:, None, None]
        vector = jnp.take_along_axis(power, column, axis=2)[..., 0]
        vector = _orthonormal(vector[:, None], jnp.zeros_like(vector)[:, None], least=0.0)[:, 0]
        # For a matrix of lower rank only rounding errors are left, which may be parallel to an earlier vector.
        if found:
            vector = _orthonormal(vector[:, None], jnp.stack(found, axis=1), least=0.5)[:, 0]
        found.append(vector)
        value = jnp.maximum(_einsum("mp,mpq,mq->m", vector, gram, vector), 0)
        gram = gram - value[:, None, None] * vector[:, :, None] * vector[:, None, :]
    return jnp.stack(found, axis=1)


def _unit_trace(gram: jax.Array) -> jax.Array:
    trace = jnp.trace(gram, axis1=1, axis2=2)[:, None, None]
    return gram / jnp.where(trace > 0, trace, 1)


def _orthonormal(new: jax.Array, rows: jax.Array, *, least: float) -> jax.Array:
    """Orthonormalise the rows `new` [m, b, n] against `rows` and each other; rows whose norm falls to `least` or below become 0.

    Call twice: a row that loses half its norm the second time lies, up to rounding, in the span of the others.
    """
    new = new - _einsum("mbp,mpn->mbn", _einsum("mbn,mpn->mbp", new, rows), rows)
    done: list[jax.Array] = []
    for row in jnp.moveaxis(new, 1, 0):
        for other in done:
            row = row - jnp.sum(other * row, axis=-1, keepdims=True) * other
        length = jnp.sqrt(jnp.sum(jnp.square(row), axis=-1, keepdims=True))
        done.append(jnp.where(length > least, row / jnp.where(length > 0, length, 1), 0))
    return jnp.stack(done, axis=1)


def _lengths(weight: jax.Array, scale: jax.Array, rights: jax.Array) -> jax.Array:
    """Return |W v| for each row v, largest first: more accurate than square roots of eigenvalues of W^T W."""
    lefts = _times(weight, rights) / scale
    return scale * jnp.sort(jnp.sqrt(jnp.sum(jnp.square(lefts), axis=range(1, lefts.ndim))), descending=True)


def _squared(weight: jax.Array, scale: jax.Array, rows: jax.Array) -> jax.Array:
    """Compute rows W^T W / scale^2, with W oriented so that rows [b, n] match its smaller side."""
    # Divide after each product, so that neither tiny nor huge weights overflow float32.
    return _times(weight, _times(weight, rows) / scale, back=True) / scale


def _times(weight: jax.Array, rows: jax.Array, *, back: bool = False) -> jax.Array:
    """Multiply rows on the smaller side of weight [..., in, out] to the larger side, or `back`."""
    # Neither reshape nor transpose the weight: a sharded weight would be communicated.
    outputs_are_fewer = weight.shape[-1] == _side(weight[None])
    if outputs_are_fewer == back:
        inputs = rows.reshape(-1, *weight.shape[:-1])
        moved = jnp.tensordot(inputs, weight, weight.ndim - 1, precision=jax.lax.Precision.HIGHEST)
    else:
        moved = jnp.tensordot(rows, weight, ((1,), (weight.ndim - 1,)), precision=jax.lax.Precision.HIGHEST)
    return moved.reshape(len(rows), -1) if back else moved


def _side(stack: jax.Array) -> int:
    """Return the smaller side of the stack's matrices."""
    return min(stack.shape[-1], math.prod(stack.shape[1:-1]))


def _scales(stack: jax.Array) -> jax.Array:
    """Return the largest magnitude in each weight, 1 if all are 0: [m]."""
    largest = jnp.max(jnp.abs(stack), axis=range(1, stack.ndim))
    return jnp.where(largest == 0, 1, largest)
