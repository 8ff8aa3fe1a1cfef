"""Dense and convolutional layers with equalized learning rate (Karras et al. 2018, section 4.1).

Weights are drawn from N(0, 1) and scaled when they are used, by gain / sqrt(fan_in). Optimizers that divide a gradient by its
size, such as Adam, then change all layers at the same relative speed.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.convolution import LAYOUT, conv_general_dilated
from biggan_jax.layers.resample import conv_pool, smooth_conv_downsample, upsample_conv

RESAMPLED: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "up": upsample_conv,
    "down": conv_pool,
    "smooth_down": smooth_conv_downsample,
}
"""Convolutions fused with resampling by two."""


class _Equalized(nn.Module):
    """What both layers share.

    gain: standard deviation of outputs for inputs of mean square 1.
    lr_multiplier: factor of the learning rate. Stored weights are drawn from N(0, 1) / lr_multiplier.
    bias_multiplier: the same for the bias; None: lr_multiplier. bias_init: the stored bias; used is bias_multiplier times it.
    dtype: of the product; by default that of the inputs.
    """

    features: int
    gain: float = 1.0
    lr_multiplier: float = 1.0
    bias_multiplier: float | None = None
    bias_init: float = 0.0
    use_bias: bool = True
    dtype: Any = None

    @nn.nowrap  # Hooks on modules see calls of the layer alone.
    def kernel(self, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        """Return the scaled weights of a shape [..., in, out]."""
        weights = self.param("kernel", nn.initializers.normal(1 / self.lr_multiplier), shape)
        return (weights * (self.gain * self.lr_multiplier / math.sqrt(math.prod(shape[:-1])))).astype(dtype)

    @nn.nowrap
    def add_bias(self, y: jax.Array) -> jax.Array:
        """Add the scaled bias [features] to outputs [..., features]."""
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,))
        factor = self.lr_multiplier if self.bias_multiplier is None else self.bias_multiplier
        return y + (bias * factor).astype(y.dtype)


class EqualizedDense(_Equalized):
    """x [..., in] to [..., features]; see _Equalized."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype or x.dtype)
        return self.add_bias(x @ self.kernel((x.shape[-1], self.features), x.dtype))


class EqualizedConv(_Equalized):
    """x [B, H, W, in] to [B, H', W', features]; see _Equalized. The edge is continued by 0.

    size: height and width of the kernel. resample: "up" doubles the size by nearest neighbour before a 3x3 convolution,
    "down" averages 2x2 squares after it; both are fused with it. "smooth_down": see smooth_conv_downsample.
    """

    size: int = 3
    resample: str = ""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype or x.dtype)
        kernel = self.kernel((self.size, self.size, x.shape[-1], self.features), x.dtype)
        if self.resample:
            return self.add_bias(RESAMPLED[self.resample](x, kernel))
        return self.add_bias(conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT))
