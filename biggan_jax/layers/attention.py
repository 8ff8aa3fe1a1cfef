"""Owns self-attention over positions, as SA-GAN and BigGAN use it (Zhang et al. 2019). Must not know where networks put it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import Conv1x1


class SelfAttention(nn.Module):
    """x [B, H, W, C] plus gamma times what each position gathers from the others; gamma starts at 0.

    Queries and keys have C/8 channels, values C/2; keys and values are max-pooled 2x2; no scaling by sqrt(d), no biases,
    softmax in float32.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, c = x.shape
        conv = lambda features, name: Conv1x1(features, use_bias=False, dtype=self.dtype, name=name)
        pool = lambda t: nn.max_pool(t, (2, 2), strides=(2, 2))
        flat = lambda t: t.reshape(b, -1, t.shape[-1])

        theta = flat(conv(c // 8, "theta")(x))
        phi = flat(pool(conv(c // 8, "phi")(x)))
        g = flat(pool(conv(c // 2, "g")(x)))

        scores = jnp.einsum("bqc,bkc->bqk", theta, phi, preferred_element_type=jnp.float32)
        attention = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        gathered = jnp.einsum("bqk,bkc->bqc", attention, g).reshape(b, h, w, c // 2)

        gamma = self.param("gamma", nn.initializers.zeros, ())
        return x + (gamma * conv(c, "o")(gathered)).astype(x.dtype)
