"""Attention in blocks of queries whose scores fit into a CPU's cache.

On a CPU, XLA's gradient of plain attention writes and reads each score a dozen times. Here the axis of keys comes first:
a sum over keys then adds rows, and products with the few channels of queries need no transposition.
"""

import jax
import jax.numpy as jnp

SCORES = 2**19
"""Maximum number of scores in a block: two megabytes."""


@jax.custom_vjp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Return softmax(q k^T) v, [B, Q, E] in v's dtype, for q [B, Q, D], k [B, K, D], v [B, K, E]; softmax is float32.

    Without a gradient this is plain attention, which XLA runs in blocks by itself.
    """
    scores = jnp.einsum("bqc,bkc->bqk", q, k, preferred_element_type=jnp.float32)
    return jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(scores, axis=-1).astype(v.dtype), v)


def _save(q, k, v):
    def one(q):
        scores = _scores(k, q)
        largest = jnp.max(scores, axis=1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = jnp.sum(weights, axis=1, keepdims=True)
        out = jnp.einsum("bkq,bkc->bqc", weights, v, preferred_element_type=jnp.float32) / total.swapaxes(1, 2)
        return out, largest + jnp.log(total)

    out, log_total = jax.lax.map(one, _blocks(q, k))
    out = _joined(out)
    return out.astype(v.dtype), (q, k, v, out, log_total)


def _gradient(kept, g):
    q, k, v, out, log_total = kept
    g = g.astype(jnp.float32)
    along = jnp.sum(g * out, axis=-1, keepdims=True)

    def one(sums, block):
        q, g, along, log_total = block
        dk, dv = sums
        weights = jnp.exp(_scores(k, q) - log_total)
        d_scores = weights * (_scores(v, g) - along.swapaxes(1, 2))
        dk += jnp.einsum("bkq,bqc->bkc", d_scores, q, preferred_element_type=jnp.float32)
        dv += jnp.einsum("bkq,bqc->bkc", weights, g)
        return (dk, dv), jnp.einsum("bkq,bkc->bqc", d_scores, k, preferred_element_type=jnp.float32)

    zeros = jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32)
    blocks = *(_blocks(x, k) for x in (q, g, along)), log_total
    (dk, dv), dq = jax.lax.scan(one, zeros, blocks)
    return _joined(dq).astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)


attend.defvjp(_save, _gradient)


def _scores(k, q):
    return jnp.einsum("bkc,bqc->bkq", k, q, preferred_element_type=jnp.float32)


def _blocks(x, k):
    """Reshape [B, Q, C] to [blocks, B, Q / blocks, C]."""
    b, queries, channels = x.shape
    size = next(n for n in range(queries, 0, -1) if queries % n == 0 and (b * n * k.shape[1] <= SCORES or n == 1))
    return x.reshape(b, queries // size, size, channels).swapaxes(0, 1)


def _joined(x):
    blocks, b, size, channels = x.shape
    return x.swapaxes(0, 1).reshape(b, blocks * size, channels)
