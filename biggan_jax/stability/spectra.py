"""Owns the leading singular values of normalised weights, which BigGAN's authors watched for collapse (Brock et al. 2019, sec. 4.1).

It must not know when they are asked for, nor what is made of them.
"""

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
"""Products with W^T W in a Krylov basis. Of random matrices with 1,536 columns the third value is off by up to 3e-3 after 16,
mostly by less than 1e-4 after 24."""

SQUARINGS = 16
"""Two eigenvalues that differ by more than one part in 2**16 are told apart; of others either will do."""

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Basis(NamedTuple):
    """Rows that span where the leading right singular vectors lie. rows: [m, p, n]; gram: rows W^T W rows^T, [m, p, p]."""

    rows: jax.Array
    gram: jax.Array


def top_singular_values(
    params: Params, vectors: spectral.Vectors, k: int = 3, mesh: Mesh | None = None
) -> dict[str, jax.Array]:
    """The k largest singular values of each weight that has a u-vector: {"block_0.conv_1.kernel": float32 [k], ...}, largest first.

    Of raw weights, as the matrices that spectral norm divides by its estimate of the first; 0 beyond a matrix's smaller
    side. Pure; float32 at full multiplication precision. Smaller sides of up to (k + 1) STEPS are worked out whole, larger
    ones by a block Krylov basis with Rayleigh-Ritz (Musco and Musco 2015), whose values are never too large: to 1e-5 of the
    first where values stand apart or are equal, 1e-3 where hundreds crowd below the k-th. What is less than 1e-3 of the
    first is only known to be so small. `mesh`: on which the weights lie in parts; they stay there, what they are multiplied
    with is whole on every device.
    """
    weights = flatten_dict(params)
    groups = spectral.group_by_shape({path: weights[path] for path in flatten_dict(vectors["u"])})
    stacks = [jnp.stack([spectral.outputs_last(path, weights[path]) for path in paths]) for paths in groups]
    if not stacks:
        return {}
    size = (k + 1) * STEPS
    large = [i for i, stack in enumerate(stacks) if _side(stack) > size]
    bases = {i: _whole(stack, size, mesh) for i, stack in enumerate(stacks) if i not in large}
    bases |= dict(zip(large, _krylov([stacks[i] for i in large], k + 1, mesh), strict=True))
    # One call for all: each is a loop of its own, and slow to start.
    leading = _leading(jnp.concatenate([bases[i].gram for i in range(len(stacks))]), k)
    values, start = {}, 0
    for i, (paths, stack) in enumerate(zip(groups, stacks, strict=True)):
        end = start + len(paths)
        rights = _einsum("mkp,mpn->mkn", leading[start:end], bases[i].rows)
        for path, found in zip(paths, jax.vmap(_lengths)(stack, _scales(stack), rights), strict=True):
            values[".".join(path)] = found
        start = end
    return values


def _whole(stack: jax.Array, size: int, mesh: Mesh | None) -> Basis:
    """Every direction, filled up with zeros to `size`."""
    side = _side(stack)
    every = jnp.broadcast_to(jnp.eye(side), (stack.shape[0], side, side))
    gram = gather(jax.vmap(_squared)(stack, _scales(stack), every), mesh)
    fill = (0, size - side)
    return Basis(jnp.pad(every, ((0, 0), fill, (0, 0))), jnp.pad(gram, ((0, 0), fill, fill)))


def _krylov(stacks: list[jax.Array], block: int, mesh: Mesh | None) -> list[Basis]:
    """Orthonormal rows X, X W^T W, X (W^T W)^2, ... for `block` random rows X: a value is found as often as that, if it is repeated.

    All weights go through one loop, filled up with zeros to the longest side: on a TPU the number of operations counts.
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
    # A row of the Gram matrix was made when later rows were not there.
    gram = jnp.tril(gram) + jnp.swapaxes(jnp.tril(gram, -1), 1, 2)
    grams = [gram[start : start + count] for start, count in zip(starts, counts, strict=True)]
    return [*map(Basis, parts(rows), grams)]


def _leading(gram: jax.Array, k: int) -> jax.Array:
    """The eigenvectors [m, k, p] of the k largest eigenvalues of each symmetric gram [m, p, p], none of them negative.

    By powers of the matrix, one eigenvector after another: its square, the square of that, and so on, is at last the
    projection on the first. Products are all it takes. Of `eigh`, several devices of one CPU wait for each other for good.
    """
    found: list[jax.Array] = []
    for _ in range(k):
        square = lambda _, power: _unit_trace(_einsum("mpq,mqr->mpr", power, power))
        power = jax.lax.fori_loop(0, SQUARINGS, square, _unit_trace(gram))
        column = jnp.argmax(jnp.diagonal(power, axis1=1, axis2=2), axis=1)[:, None, None]
        vector = jnp.take_along_axis(power, column, axis=2)[..., 0]
        vector = _orthonormal(vector[:, None], jnp.zeros_like(vector)[:, None], least=0.0)[:, 0]
        if found:  # Of a matrix of lower rank only rounding is left, which may point where an earlier one does.
            vector = _orthonormal(vector[:, None], jnp.stack(found, axis=1), least=0.5)[:, 0]
        found.append(vector)
        value = jnp.maximum(_einsum("mp,mpq,mq->m", vector, gram, vector), 0)
        gram = gram - value[:, None, None] * vector[:, :, None] * vector[:, None, :]
    return jnp.stack(found, axis=1)


def _unit_trace(gram: jax.Array) -> jax.Array:
    trace = jnp.trace(gram, axis1=1, axis2=2)[:, None, None]
    return gram / jnp.where(trace > 0, trace, 1)


def _orthonormal(new: jax.Array, rows: jax.Array, *, least: float) -> jax.Array:
    """The rows `new` [m, b, n] at right angles to `rows` and each other, of length 1; 0 where no more than `least` was left.

    Once is not enough, twice is: what then loses half its length lies, but for rounding, in the span of the others.
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
    """|W v| for each row v, largest first: accurate where the square root of an eigenvalue of W^T W no longer is."""
    lefts = _times(weight, rights) / scale
    return scale * jnp.sort(jnp.sqrt(jnp.sum(jnp.square(lefts), axis=range(1, lefts.ndim))), descending=True)


def _squared(weight: jax.Array, scale: jax.Array, rows: jax.Array) -> jax.Array:
    """rows W^T W / scale^2, with W read so that rows [b, n] lie on its smaller side."""
    # Divided after each product, so that neither tiny nor huge weights leave float32's range.
    return _times(weight, _times(weight, rows) / scale, back=True) / scale


def _times(weight: jax.Array, rows: jax.Array, *, back: bool = False) -> jax.Array:
    """Rows on the smaller side of weight [..., in, out] to the other, or back; shaped [b, n], [b, ..., in] or [b, out]."""
    # Axes of the weight are not merged, nor is it turned: where it lies in parts on several devices, it would have to move.
    outputs_are_fewer = weight.shape[-1] == _side(weight[None])
    if outputs_are_fewer == back:
        inputs = rows.reshape(-1, *weight.shape[:-1])
        moved = jnp.tensordot(inputs, weight, weight.ndim - 1, precision=jax.lax.Precision.HIGHEST)
    else:
        moved = jnp.tensordot(rows, weight, ((1,), (weight.ndim - 1,)), precision=jax.lax.Precision.HIGHEST)
    return moved.reshape(len(rows), -1) if back else moved


def _side(stack: jax.Array) -> int:
    """The smaller side of the stack's matrices."""
    return min(stack.shape[-1], math.prod(stack.shape[1:-1]))


def _scales(stack: jax.Array) -> jax.Array:
    """The largest magnitude in each weight, 1 where all is 0: [m]."""
    largest = jnp.max(jnp.abs(stack), axis=range(1, stack.ndim))
    return jnp.where(largest == 0, 1, largest)
