"""Batch normalisation, plain and conditional (Brock et al. 2019, App. B).

Statistics are cross-replica: under jit over a mesh, a mean over the batch axis is the mean over all devices. `group` makes
them those of fewer images, on any number of devices.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import ClassEmbedding, Dense


class BatchNorm(nn.Module):
    """Normalise x [B, ..., C] by statistics over all axes but the last; then scale and shift each channel.

    With a condition c [B, D], gain = 1 + W_g c and offset = W_b c; without, both are learned vectors. BigGAN-deep does
    not train without the leading 1. With `num_classes`, c are labels, and gain - 1 and offset are rows of this layer's
    own tables. Statistics, and their running averages in `batch_stats`, are float32. The running variance is unbiased.

    momentum: the share of the running average that a training pass keeps; with 0 the running statistics are those of the last
    batch. num_classes: 0 for a condition that is not a label. gain_init: draws the gains of a layer without a condition.
    group: in training, images that are normalised together, consecutive ones of the batch; 0 for all. Running statistics
    are then averages of the groups' own. The batch must be divisible by it.
    """

    eps: float = 1e-4
    momentum: float = 0.9
    dtype: jnp.dtype = jnp.float32
    num_classes: int = 0
    gain_init: Callable = nn.initializers.ones
    group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, c: jax.Array | None = None, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if c is None:
            gain = self.param("gain", self.gain_init, (channels,))
            offset = self.param("offset", nn.initializers.zeros, (channels,))
        else:
            per_image = lambda v: jnp.expand_dims(v, tuple(range(1, x.ndim - 1)))
            tables = lambda name: ClassEmbedding(self.num_classes, channels, name=name)
            project = lambda name: Dense(channels, use_bias=False, name=name)
            layer = tables if self.num_classes else project
            gain, offset = 1.0 + per_image(layer("gain")(c)), per_image(layer("offset")(c))

        if train and self.group and not self.is_initializing():
            # The new axis is sharded as the batch is, where groups do not cross devices.
            grouped = x.reshape(-1, self.group, *x.shape[1:])
            means, variances = jax.vmap(_statistics)(grouped)
            self._move(running_mean, running_var, means.mean(0), variances.mean(0), grouped[0].size // channels)
            of_image = lambda v: jnp.expand_dims(jnp.repeat(v, self.group, axis=0), tuple(range(1, x.ndim - 1)))
            mean, var = of_image(means), of_image(variances)
        elif train:
            mean, var = _statistics(x)
            if not self.is_initializing():
                self._move(running_mean, running_var, mean, var, x.size // channels)
        else:
            mean, var = running_mean.value, running_var.value

        scale = gain * jax.lax.rsqrt(var + self.eps)
        return (x * scale + (offset - mean * scale)).astype(self.dtype)

    def _move(self, running_mean: nn.Variable, running_var: nn.Variable, mean: jax.Array, var: jax.Array, count: int):
        """Move the running statistics towards those of `count` values per channel; `var` is biased."""
        unbiased = var * (count / max(count - 1, 1))
        running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased


def _statistics(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean and biased variance over all axes but the last, in float32 and one pass over x."""
    axes = tuple(range(x.ndim - 1))
    x = x.astype(jnp.float32)
    mean = x.mean(axes)
    return mean, jnp.maximum(jnp.square(x).mean(axes) - jnp.square(mean), 0.0)


def pixel_norm(x: jax.Array, eps: float = 1e-8) -> jax.Array:
    """Scale each vector of channels of x [..., C] to mean square 1 (Karras et al. 2018, section 4.2)."""
    square = jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(square + eps).astype(x.dtype)


def instance_norm(x: jax.Array, eps: float) -> jax.Array:
    """Normalise each channel of each image [B, H, W, C] by its own mean and variance (Ulyanov et al. 2016), in float32."""
    mean = x.mean((1, 2), jnp.float32, keepdims=True)
    var = jnp.square(x - mean).mean((1, 2), jnp.float32, keepdims=True)
    return ((x - mean) * jax.lax.rsqrt(var + eps)).astype(x.dtype)
