"""ResNet-50 (He et al. 2016) without its last layer, as SwAV trains it (Caron et al. 2020)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.evaluation.vit import IMAGENET, standardised
from biggan_jax.types import Image

SIZE = 224
STAGES = (3, 4, 6, 3)
"""Blocks of each stage."""

_conv = functools.partial(nn.Conv, use_bias=False, precision=jax.lax.Precision.HIGHEST)
_norm = functools.partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)


class ResNet50(nn.Module):
    """Map uint8 or float32 [B, S, S, 3] in [0, 255] to features [B, 32 * width], and logits of 0 [B, 1]."""

    width: int = 64
    stages: tuple[int, ...] = STAGES

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        x = standardised(images, *IMAGENET)
        x = nn.relu(_norm(name="bn1")(_conv(self.width, (7, 7), 2, padding=3, name="conv1")(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for stage, count in enumerate(self.stages):
            for i in range(count):
                strides = 2 if stage and not i else 1
                x = _Bottleneck(self.width * 2**stage, strides, name=f"layer{stage + 1}_{i}")(x)
        return x.mean((1, 2)), jnp.zeros((len(x), 1))


class _Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 (which has the stride) and 1x1; the first block of a stage projects its input."""

    width: int
    strides: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(_norm(name="bn1")(_conv(self.width, (1, 1), name="conv1")(x)))
        y = nn.relu(_norm(name="bn2")(_conv(self.width, (3, 3), self.strides, padding=1, name="conv2")(y)))
        y = _norm(name="bn3")(_conv(4 * self.width, (1, 1), name="conv3")(y))
        if x.shape[-1] != 4 * self.width or self.strides > 1:
            x = _norm(name="downsample_1")(_conv(4 * self.width, (1, 1), self.strides, name="downsample_0")(x))
        return nn.relu(x + y)
