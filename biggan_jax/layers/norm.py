"""Owns batch normalisation, plain and conditional (Brock et al. 2019, App. B). It must not know devices: under jit over a mesh,
a mean over the batch axis is the mean over all devices, so cross-replica statistics need no word here."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import ClassEmbedding, Dense


class BatchNorm(nn.Module):
    """Normalises x [B, H, W, C] by moments over B, H, W; then scales and shifts each channel.

    With a condition c [B, D], gain = 1 + W_g c and offset = W_b c; without, both are learned vectors. The leading 1 is
    what makes BigGAN-deep trainable at all. With `num_classes`, c are labels, and gain - 1 and offset are looked up in
    tables of this layer's own. Moments, and the running averages in `batch_stats`, are float32; the running
    variance is the unbiased one. `momentum` is the share of the old average that a training pass keeps: with 0 the
    running moments are exactly one batch's.
    """

    eps: float = 1e-4
    momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32
    num_classes: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, c: jax.Array | None = None, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if c is None:
            gain = self.param("gain", nn.initializers.ones, (channels,))
            offset = self.param("offset", nn.initializers.zeros, (channels,))
        else:
            gain = 1.0 + self._from_condition("gain", channels)(c)[:, None, None, :]
            offset = self._from_condition("offset", channels)(c)[:, None, None, :]

        if train:
            mean, var = _moments(x)
            if not self.is_initializing():
                count = x.size // channels
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
                running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        else:
            mean, var = running_mean.value, running_var.value

        scale = gain * jax.lax.rsqrt(var + self.eps)
        return (x * scale + (offset - mean * scale)).astype(self.dtype)

    def _from_condition(self, name: str, channels: int) -> nn.Module:
        if self.num_classes:
            return ClassEmbedding(self.num_classes, channels, name=name)
        return Dense(channels, use_bias=False, name=name)


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance over all axes but the last, in float32 and one pass over x."""
    x = x.astype(jnp.float32)
    mean = x.mean((0, 1, 2))
    return mean, jnp.maximum(jnp.square(x).mean((0, 1, 2)) - jnp.square(mean), 0.0)
