"""Self-attention over positions, as in SA-GAN and BigGAN (Zhang et al. 2019)."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import Conv1x1

Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(q [B, Q, D], k [B, K, D], v [B, K, E]) to softmax(q k^T) v, [B, Q, E]."""


@jax.custom_vjp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Return softmax(q k^T) v, without scaling of the scores; scores and softmax are float32.

    The gradient recomputes the softmax from the scores and their log-sum-exp, so that only the scores and their
    gradient are written to memory.
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
    """x [B, H, W, C] plus gamma times its self-attention over positions; gamma starts at 0.

    Queries and keys have C/8 channels, values C/2. Keys and values are max-pooled 2x2. There are no biases, and scores
    are not scaled by sqrt(d). `attend` computes the attention.
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
