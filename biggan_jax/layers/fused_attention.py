"""Attention as TPU kernels, which do not write scores to memory.

Plain attention writes a float32 score for each pair of positions and reads it several times. For 4,096 queries and 1,024
keys these are 16 MB per image and pass, and a sixth of a BigGAN step. Here the core's own memory holds the scores of a
block of queries and all keys. The softmax therefore needs no running maximum, unlike in Dao et al. 2022. The gradient
recomputes the scores.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

UNSUPPORTED = "TPU v2", "TPU v3"
"""Devices whose kernels cannot multiply bfloat16; in float32 the kernel would be slower than plain attention."""

SCORES = 2**18
"""Maximum number of float32 scores in a block: a megabyte; the gradient keeps several in the core's memory."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend(q: jax.Array, k: jax.Array, v: jax.Array, interpret: bool = False) -> jax.Array:
    """Return softmax(q k^T) v, [B, Q, E] in v's dtype, for q [B, Q, D], k [B, K, D], v [B, K, E]; softmax is float32.

    It is differentiable once, since the gradient is a kernel too. `interpret` runs it on any device, slowly.
    """
    out = jax.ShapeDtypeStruct((*q.shape[:2], v.shape[-1]), v.dtype)
    return _call(_forward, "attend", [q], [k, v], [out], [], [q, v], interpret)[0]


def _gradient(interpret, kept, g):
    q, k, v = kept
    sums = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (k, v)]
    dq, dk, dv = _call(_backward, "attend_gradient", [q, g], [k, v], [q], sums, [q, v, q, q, v], interpret)
    return dq, dk.astype(k.dtype), dv.astype(v.dtype)


attend.defvjp(lambda q, k, v, interpret: (attend(q, k, v, interpret), (q, k, v)), _gradient)


def _call(kernel, name, by_query, whole, out_by_query, out_whole, products, interpret):
    """Run the kernel over a grid [image, block of queries].

    by_query, out_by_query: inputs and outputs [B, Q, ...], passed in blocks. whole, out_whole: those [B, K, ...], passed
    completely. products: for each product of the kernel, an array whose last axis is the one summed over or made.
    """
    from jax.experimental import pallas as pl  # Here, since its import takes half a second, and only TPUs need it.
    from jax.experimental.pallas import tpu as pltpu

    images, queries = by_query[0].shape[:2]
    keys = whole[0].shape[1]
    block = next(size for size in range(queries, 0, -1) if queries % size == 0 and (size * keys <= SCORES or size == 1))
    blocked = lambda x: pl.BlockSpec((1, block, x.shape[-1]), lambda i, j: (i, j, 0))
    entire = lambda x: pl.BlockSpec((1, *x.shape[1:]), lambda i, j: (i, 0, 0))
    outs = [*out_by_query, *out_whole]
    return pl.pallas_call(
        kernel,
        name=name,
        grid=(images, queries // block),
        in_specs=[*map(blocked, by_query), *map(entire, whole)],
        out_specs=[*map(blocked, out_by_query), *map(entire, out_whole)],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outs],
        cost_estimate=pl.CostEstimate(
            flops=2 * images * queries * keys * sum(x.shape[-1] for x in products),
            transcendentals=images * queries * keys,
            bytes_accessed=sum(x.size * x.dtype.itemsize for x in (*by_query, *whole, *outs)),
        ),
        # Either core of a v4 or v5p chip may compute an image; blocks of one image add to the same sums.
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        interpret=interpret,
    )(*by_query, *whole)


def busy_flops(name: str, operands: Sequence[tuple[int, ...]]) -> int:
    """Return the FLOPs of the named kernel as matrix units execute them, in blocks of 128 columns, padded or not."""
    (images, queries, d), (_, keys, e) = operands[0], operands[-1]
    d, e = (-(-size // 128) * 128 for size in (d, e))
    return 2 * images * queries * keys * (3 * d + 2 * e if name == "attend_gradient" else d + e)


def _forward(q, k, v, out):
    weights, total = _exponentials(q[0], k[0])
    # Divide after the product, which has fewer columns than there are keys.
    out[0] = (_dot(weights.astype(v.dtype), v[0], 1, 0) / total).astype(out.dtype)


def _backward(q, g, k, v, dq, dk, dv):
    from jax.experimental import pallas as pl

    @pl.when(pl.program_id(1) == 0)
    def _():
        dk[...], dv[...] = jnp.zeros_like(dk), jnp.zeros_like(dv)

    weights, total = _exponentials(q[0], k[0])
    attention = weights / total
    d_attention = _dot(g[0], v[0], 1, 1)
    d_scores = attention * (d_attention - jnp.sum(d_attention * attention, axis=1, keepdims=True))
    attention, d_scores = attention.astype(v.dtype), d_scores.astype(q.dtype)
    dq[0] = _dot(d_scores, k[0], 1, 0).astype(dq.dtype)
    dk[0] += _dot(d_scores, q[0], 0, 0)
    dv[0] += _dot(attention, g[0], 0, 0)


def _exponentials(q, k):
    """Return exp(scores - max) [block, K] and its sums over keys [block, 1]."""
    scores = _dot(q, k, 1, 1)
    weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    return weights, jnp.sum(weights, axis=1, keepdims=True)


def _dot(a, b, a_axis: int, b_axis: int):
    """Return the float32 product of two matrices over the given axis of each."""
    return jax.lax.dot_general(a, b, (((a_axis,), (b_axis,)), ((), ())), preferred_element_type=jnp.float32)
