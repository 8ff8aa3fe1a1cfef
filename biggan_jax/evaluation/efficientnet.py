"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6), a small ImageNet network.

Its weights come in a package of 17 MB, for evaluation where Inception's weights are not available.
"""

import functools
import operator

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
    """Map uint8 [B, H, W, 3] to features [B, 1280] and ImageNet logits [B, 1000], float32 at full precision on every device.

    size: of the images that the layers see; 0: that of the input, which may have any height and width. by_shifts: compute
    depthwise convolutions as in `_Depthwise`.
    """

    size: int = SIZE
    by_shifts: bool = False

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        b, height, width, channels = images.shape
        shape = b, self.size or height, self.size or width, channels
        x = jax.image.resize(images.astype(jnp.float32), shape, "bilinear", antialias=True)
        x = (x - 127) / 128
        x = nn.relu6(_norm(name="bn0")(_conv(32, (3, 3), 2, name="conv_stem")(x)))
        blocks = [(kernel, 1 if i else stride, *rest) for count, kernel, stride, *rest in STAGES for i in range(count)]
        for i, (kernel, stride, expansion, features) in enumerate(blocks):
            x = _Block(kernel, stride, expansion, features, self.by_shifts, name=f"block_{i}")(x)
        x = nn.relu6(_norm(name="bn1")(_conv(FEATURES, (1, 1), name="conv_head")(x)))
        pooled = x.mean((1, 2))
        return pooled, nn.Dense(CLASSES, precision=jax.lax.Precision.HIGHEST, name="fc")(pooled)


class _Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection; a skip connection if shapes are equal."""

    kernel: int
    strides: int
    expansion: int
    features: int
    by_shifts: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        x, width, kernel = inputs, inputs.shape[-1] * self.expansion, (self.kernel, self.kernel)
        if self.expansion > 1:
            x = nn.relu6(_norm(name="bn0")(_conv(width, (1, 1), name="expand_conv")(x)))
        if self.by_shifts:
            x = _Depthwise(self.kernel, self.strides, name="depthwise_conv")(x)
        else:
            x = _conv(width, kernel, self.strides, feature_group_count=width, name="depthwise_conv")(x)
        x = nn.relu6(_norm(name="bn1")(x))
        x = _norm(name="bn2")(_conv(self.features, (1, 1), name="project_conv")(x))
        return x + inputs if x.shape == inputs.shape else x


class _Depthwise(nn.Module):
    """A depthwise convolution as a sum of shifted inputs, equal to nn.Conv's up to rounding, with its parameter.

    On CPUs, XLA's convolution in groups and its gradient take up to fifty times as long: 2.6 s in place of 0.06 s for 96 channels
    of 160 x 214 pixels. Evaluation keeps nn.Conv, so that its features stay bit-exact.
    """

    kernel: int
    strides: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, step, channels = self.kernel, self.strides, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (n, n, 1, channels))
        sizes = [-(-side // step) for side in x.shape[1:3]]
        pads = [max((size - 1) * step + n - side, 0) for size, side in zip(sizes, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)))
        spans = [(size - 1) * step + 1 for size in sizes]
        shifted = lambda i, j: x[:, i : i + spans[0] : step, j : j + spans[1] : step]
        return functools.reduce(operator.add, (shifted(i, j) * kernel[i, j, 0] for i in range(n) for j in range(n)))
