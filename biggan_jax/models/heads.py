"""Owns what is the same in every family: how G ends in an image and D in a logit, and how a block forgets its activations."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import ClassEmbedding, Conv3x3, Dense, FirstOfConv3x3
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.types import Image, Label, Logit


def rematerialised(block: type[nn.Module], *, static: tuple[int, ...] = ()) -> type[nn.Module]:
    """The block, of whose forward pass only the input is kept; its gradient computes the rest again.

    `static`: which of its arguments are no arrays, the module itself being 0; all are given by position.
    """
    return nn.remat(block, static_argnums=static)


def to_image(x: jax.Array, *, pad_rgb: bool, bn_eps: float, bn_momentum: float, dtype: jnp.dtype, train: bool) -> Image:
    """G's last layers: batch norm, ReLU, 3x3 convolution to RGB, tanh in float32.

    `pad_rgb`: the convolution has as many filters as x has channels, and the first three make the image, as in the
    released BigGAN-deep and in the paper's count of its parameters. Spectral norm sees all of them.
    """
    x = nn.relu(BatchNorm(bn_eps, bn_momentum, dtype, name="bn_out")(x, train=train))
    conv = (
        FirstOfConv3x3(x.shape[-1], 3, dtype=dtype, name="conv_out")
        if pad_rgb
        else Conv3x3(3, dtype=dtype, name="conv_out")
    )
    return jnp.tanh(conv(x).astype(jnp.float32))


def projection(x: jax.Array, y: Label | None, *, num_classes: int) -> Logit:
    """D's head: ReLU, global sum pooling to h, then a linear term plus <embed(y), h>, in float32 (Miyato & Koyama 2018)."""
    h = nn.relu(x).astype(jnp.float32).sum((1, 2))
    logit = Dense(1, name="linear")(h)[:, 0]
    if num_classes:
        logit += jnp.sum(ClassEmbedding(num_classes, h.shape[-1], name="embed")(y) * h, axis=-1)
    return logit
