"""Owns self-attention over positions, as SA-GAN and BigGAN use it (Zhang et al. 2019). Must not know where networks put it."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import Conv1x1

Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(q [B, Q, D], k [B, K, D], v [B, K, E]) to softmax(q k^T) v, [B, Q, E]."""


@jax.custom_vjp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k^T) v. Scores, which nothing scales down, and softmax in float32.

    Its gradient computes the softmax anew from scores and their logarithmic sum, so that only scores and their gradient
    are ever written to memory.
    """
    return _attend(q, k, v)[0]


def _attend(q, k, v):
    scores = _scores(q, k)
    total = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    out = jnp.einsum("bqk,bkc->bqc", jnp.exp(scores - total).astype(v.dtype), v)
    return out, (q, k, v, out, total)


def _gradient(kept, g):
    q, k, v, out, total = kept
    attention = jnp.exp(_scores(q, k) - total)
    d_attention = _scores(g, v)
    along = jnp.sum(g.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True)
    d_scores = (attention * (d_attention - along)).astype(q.dtype)
    dq, dk = jnp.einsum("bqk,bkc->bqc", d_scores, k), jnp.einsum("bqk,bqc->bkc", d_scores, q)
    return dq, dk, jnp.einsum("bqk,bqc->bkc", attention.astype(v.dtype), g)


attend.defvjp(_attend, _gradient)


def _scores(q, k):
    return jnp.einsum("bqc,bkc->bqk", q, k, preferred_element_type=jnp.float32)


class SelfAttention(nn.Module):
    """x [B, H, W, C] plus gamma times what each position gathers from the others; gamma starts at 0.

    Queries and keys have C/8 channels, values C/2; keys and values are max-pooled 2x2; no scaling by sqrt(d), no biases.
    `attend` does the gathering.
    """

    dtype: jnp.dtype = jnp.float32
    attend: Attend = attend

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, c = x.shape
        conv = lambda features, name: Conv1x1(features, use_bias=False, dtype=self.dtype, name=name)
        pool = lambda t: nn.max_pool(t, (2, 2), strides=(2, 2))
        flat = lambda t: t.reshape(b, -1, t.shape[-1])

        theta = flat(conv(c // 8, "theta")(x))
        phi = flat(pool(conv(c // 8, "phi")(x)))
        g = flat(pool(conv(c // 2, "g")(x)))
        gathered = self.attend(theta, phi, g).reshape(b, h, w, c // 2)

        gamma = self.param("gamma", nn.initializers.zeros, ())
        return x + (gamma * conv(c, "o")(gathered)).astype(x.dtype)
