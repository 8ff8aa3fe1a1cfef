"""Parts that BigGAN and BigGAN-deep share: image and logit heads, and rematerialisation of blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.layers.linear import ClassEmbedding, Conv3x3, Dense, FirstOfConv3x3
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.types import Image, Label, Logit


def rematerialised(block: type[nn.Module], *, static: tuple[int, ...] = ()) -> type[nn.Module]:
    """Return the block with rematerialisation: only its input is stored, and the backward pass recomputes the rest.

    `static`: positions of the arguments that are not arrays, the module itself being 0. Pass all arguments by position.
    """
    return nn.remat(block, static_argnums=static)


def to_image(x: jax.Array, *, pad_rgb: bool, bn_eps: float, bn_momentum: float, dtype: jnp.dtype, train: bool) -> Image:
    """Apply G's last layers: batch norm, ReLU, 3x3 convolution to RGB, tanh in float32.

    With `pad_rgb` the convolution has as many filters as x has channels, of which the first three make the image, as in
    the released BigGAN-deep and in the paper's parameter counts. Spectral norm is that of all filters.
    """
    x = nn.relu(BatchNorm(bn_eps, bn_momentum, dtype, name="bn_out")(x, train=train))
    conv = (
        FirstOfConv3x3(x.shape[-1], 3, dtype=dtype, name="conv_out")
        if pad_rgb
        else Conv3x3(3, dtype=dtype, name="conv_out")
    )
    return jnp.tanh(conv(x).astype(jnp.float32))


def projection(x: jax.Array, y: Label | None, *, num_classes: int) -> Logit:
    """Apply D's head: ReLU, global sum pooling to h, linear(h) + <embed(y), h>, in float32 (Miyato & Koyama 2018)."""
    h = nn.relu(x).astype(jnp.float32).sum((1, 2))
    logit = Dense(1, name="linear")(h)[:, 0]
    if num_classes:
        logit += jnp.sum(ClassEmbedding(num_classes, h.shape[-1], name="embed")(y) * h, axis=-1)
    return logit
