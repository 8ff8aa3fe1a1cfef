"""Owns how G ends in an image and D in a logit, the same for every family. Called inside a module, whose parameters they make."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import ClassEmbedding, Conv3x3, Dense
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.types import Image, Label, Logit


def to_image(x: jax.Array, *, pad_rgb: bool, bn_eps: float, bn_momentum: float, dtype: jnp.dtype, train: bool) -> Image:
    """G's last layers: batch norm, ReLU, 3x3 convolution to RGB, tanh in float32.

    `pad_rgb`: the convolution keeps the number of channels, and the first three are the image, as in the released
    BigGAN-deep and in the paper's count of its parameters. Spectral norm sees all of its filters.
    """
    x = nn.relu(BatchNorm(bn_eps, bn_momentum, dtype, name="bn_out")(x, train=train))
    x = Conv3x3(x.shape[-1] if pad_rgb else 3, dtype=dtype, name="conv_out")(x)
    return jnp.tanh(x[..., :3].astype(jnp.float32))


def projection(x: jax.Array, y: Label | None, *, num_classes: int) -> Logit:
    """D's head: ReLU, global sum pooling to h, then a linear term plus <embed(y), h>, in float32 (Miyato & Koyama 2018)."""
    h = nn.relu(x).astype(jnp.float32).sum((1, 2))
    logit = Dense(1, name="linear")(h)[:, 0]
    if num_classes:
        logit += jnp.sum(ClassEmbedding(num_classes, h.shape[-1], name="embed")(y) * h, axis=-1)
    return logit
