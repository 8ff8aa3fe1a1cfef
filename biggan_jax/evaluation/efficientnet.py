"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6), a small ImageNet network.

Its weights come in a package of 17 MB, for evaluation where Inception's weights are not available.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.types import Image

SIZE, FEATURES, CLASSES = 224, 1280, 1000

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Number of blocks, and their kernel, stride (of the first; the others have 1), expansion and features."""

# SAME pads as TensorFlow does: the larger half of an odd sum comes last.
_conv = functools.partial(nn.Conv, padding="SAME", use_bias=False, precision=jax.lax.Precision.HIGHEST)
_norm = functools.partial(nn.BatchNorm, use_running_average=True, epsilon=1e-3)


class EfficientNetLite0(nn.Module):
    """Map uint8 [B, H, W, 3] to features [B, 1280] and ImageNet logits [B, 1000], float32 at full precision on every device."""

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        b, _, _, channels = images.shape
        x = jax.image.resize(images.astype(jnp.float32), (b, SIZE, SIZE, channels), "bilinear", antialias=True)
        x = (x - 127) / 128
        x = nn.relu6(_norm(name="bn0")(_conv(32, (3, 3), 2, name="conv_stem")(x)))
        blocks = [(kernel, 1 if i else stride, *rest) for count, kernel, stride, *rest in STAGES for i in range(count)]
        for i, block in enumerate(blocks):
            x = _Block(*block, name=f"block_{i}")(x)
        x = nn.relu6(_norm(name="bn1")(_conv(FEATURES, (1, 1), name="conv_head")(x)))
        features = x.mean((1, 2))
        return features, nn.Dense(CLASSES, precision=jax.lax.Precision.HIGHEST, name="fc")(features)


class _Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection; a skip connection if shapes are equal."""

    kernel: int
    strides: int
    expansion: int
    features: int

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        x, width, kernel = inputs, inputs.shape[-1] * self.expansion, (self.kernel, self.kernel)
        if self.expansion > 1:
            x = nn.relu6(_norm(name="bn0")(_conv(width, (1, 1), name="expand_conv")(x)))
        x = _conv(width, kernel, self.strides, feature_group_count=width, name="depthwise_conv")(x)
        x = nn.relu6(_norm(name="bn1")(x))
        x = _norm(name="bn2")(_conv(self.features, (1, 1), name="project_conv")(x))
        return x + inputs if x.shape == inputs.shape else x
