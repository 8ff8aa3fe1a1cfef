"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6), a small ImageNet network.

Its weights come in a package of 17 MB, for evaluation where Inception's weights are not available.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.types import Image

SIZE, FEATURES, CLASSES = 224, 1280, 1000


class _Stage(NamedTuple):
    """Equal blocks, of which only the first is strided."""

    blocks: int
    kernel: int
    strides: int
    expansion: int
    features: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """Map uint8 [B, H, W, 3] to features [B, 1280] and ImageNet logits [B, 1000], float32 at full precision on every device.

    Images are resized to 224 by antialiased bilinear interpolation. Batch norm uses stored statistics.
    """

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        b, _, _, channels = images.shape
        x = jax.image.resize(images.astype(jnp.float32), (b, SIZE, SIZE, channels), "bilinear", antialias=True)
        x = (x - 127) / 128
        x = nn.relu6(_norm("bn0")(_conv(32, 3, 2, name="conv_stem")(x)))
        strides = [(stage, 1 if i else stage.strides) for stage in STAGES for i in range(stage.blocks)]
        for i, (stage, stride) in enumerate(strides):
            x = _Block(stage, stride, name=f"block_{i}")(x)
        x = nn.relu6(_norm("bn1")(_conv(FEATURES, 1, name="conv_head")(x)))
        features = x.mean((1, 2))
        return features, nn.Dense(CLASSES, precision=jax.lax.Precision.HIGHEST, name="fc")(features)


class _Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection; a skip connection if shapes are equal."""

    stage: _Stage
    strides: int

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        x, stage = inputs, self.stage
        width = x.shape[-1] * stage.expansion
        if stage.expansion > 1:
            x = nn.relu6(_norm("bn0")(_conv(width, 1, name="expand_conv")(x)))
        x = nn.relu6(_norm("bn1")(_conv(width, stage.kernel, self.strides, width, name="depthwise_conv")(x)))
        x = _norm("bn2")(_conv(stage.features, 1, name="project_conv")(x))
        return x + inputs if x.shape == inputs.shape else x


def _conv(features: int, kernel: int, strides: int = 1, groups: int = 1, *, name: str) -> nn.Conv:
    # SAME pads as TensorFlow does: the larger half of an odd sum comes last.
    return nn.Conv(
        features,
        (kernel, kernel),
        strides,
        feature_group_count=groups,
        use_bias=False,
        precision=jax.lax.Precision.HIGHEST,
        name=name,
    )


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=1e-3, name=name)
