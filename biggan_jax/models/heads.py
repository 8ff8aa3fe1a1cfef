"""Parts that families share: the heads of G and D, and rematerialisation of blocks."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.conditioning import Output
from biggan_jax.layers.linear import ClassEmbedding, Conv3x3, FirstOfConv3x3, orthogonal
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.types import Image, Label


def rematerialised(block: type[nn.Module], *, static: tuple[int, ...] = ()) -> type[nn.Module]:
    """Return the block with rematerialisation: only its input is stored, and the backward pass recomputes the rest.

    `static`: positions of the arguments that are not arrays, the module itself being 0. Pass all arguments by position.
    """
    return nn.remat(block, static_argnums=static)


def to_image(
    x: jax.Array, *, pad_rgb: bool, bn_eps: float, bn_momentum: float, bn_group: int, dtype: jnp.dtype, train: bool
) -> Image:
    """Apply G's last layers: batch norm, ReLU, 3x3 convolution to RGB, tanh in float32.

    With `pad_rgb` the convolution has as many filters as x has channels, of which the first three make the image, as in
    the released BigGAN-deep and in the paper's parameter counts. Spectral norm is that of all filters.
    """
    x = nn.relu(BatchNorm(bn_eps, bn_momentum, dtype, group=bn_group, name="bn_out")(x, train=train))
    conv = (
        FirstOfConv3x3(x.shape[-1], 3, dtype=dtype, name="conv_out")
        if pad_rgb
        else Conv3x3(3, dtype=dtype, name="conv_out")
    )
    return jnp.tanh(conv(x).astype(jnp.float32))


class Head(NamedTuple):
    """D's last layers: a name in conditioning.HEADS, the size of the condition, and what else it returns.

    embed_dim: length of embeddings. features: return the features, too, as feature matching needs. class_bias: of AC-GAN's
    layer. normalize: AC-GAN's layer sees unit features, an option of StudioGAN.
    """

    kind: str = "projection"
    size: int = 0
    embed_dim: int = 512
    features: bool = False
    class_bias: bool = False
    normalize: bool = False


def projection(x: jax.Array, y: Label | None, *, head: Head) -> Any:
    """Apply BigGAN's head to its last feature map: ReLU, global sum pooling, and `apply_head`, in float32."""
    return apply_head(nn.relu(x).astype(jnp.float32).sum((1, 2)), y, head)


def apply_head(h: jax.Array, y: Label | None, head: Head, *, bias: bool = True, kernel_init=orthogonal) -> Any:
    """D's last layers: features [B, C] and the condition to a logit [B], or to an Output if the head says more.

    Projection is linear(h) + <embed(y), h> (Miyato & Koyama 2018), of a label, a mixture of classes or real numbers.
    """
    dense = lambda features, name, bias: nn.Dense(features, use_bias=bias, kernel_init=kernel_init, name=name)
    if head.kind == "multi_hinge":
        classes = dense(head.size + 1, "linear", bias)(h)
        logit = classes[:, :-1].max(-1) - classes[:, -1]
        return Output(logit, classes=classes, features=h if head.features else None)
    logit = dense(1, "linear", bias)(h)[:, 0]
    embed = lambda features, name: ClassEmbedding(head.size, features, kernel_init, name=name)(y)
    if head.kind == "projection" and head.size:
        logit += jnp.sum(embed(h.shape[-1], "embed") * h, axis=-1)
    more = {"features": h} if head.features else {}
    if head.kind == "ac":
        seen = h / jnp.maximum(jnp.linalg.norm(h, axis=-1, keepdims=True), 1e-12) if head.normalize else h
        more["classes"] = dense(head.size, "classes", head.class_bias)(seen)
    if head.kind in ("contrastive", "d2dce"):
        more |= {"embedding": dense(head.embed_dim, "embedding", True)(h), "proxy": embed(head.embed_dim, "proxy")}
    return Output(logit, **more) if more else logit
