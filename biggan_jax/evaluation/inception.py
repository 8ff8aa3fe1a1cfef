"""The Inception-v3 of 2015, the standard network of FID and IS (Heusel et al. 2017, Salimans et al. 2016).

Szegedy et al. 2015, as in TensorFlow's graph of 2015-12-05: average pools do not count padding, and the last block's pool
takes the maximum, which was a mistake. Names are those of torch-fidelity, TF-Slim and torchvision.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.types import Image

SIZE, FEATURES, CLASSES = 299, 2048, 1008

SPATIAL = ("Mixed_6d", "branch1x1", 7)
"""Block, convolution and channels of spatial features, as ADM's evaluation takes them: mixed_6/conv of TensorFlow's graph."""


class _Conv(NamedTuple):
    """A convolution, followed by batch norm and ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    strides: int = 1
    padding: str = "SAME"


_Pool = Callable[[jax.Array], jax.Array]
_Step = _Conv | _Pool | tuple[_Conv, _Conv]  # The outputs of two parallel convolutions are concatenated.

_average = functools.partial(nn.avg_pool, window_shape=(3, 3), padding="SAME", count_include_pad=False)
_maximum = functools.partial(nn.max_pool, window_shape=(3, 3), padding="SAME")
_halved = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
_3x3, _5x5, _1x7, _7x1 = (3, 3), (5, 5), (1, 7), (7, 1)
_fork = _Conv(384, (1, 3)), _Conv(384, (3, 1))


def _halving(features: int) -> _Conv:
    return _Conv(features, _3x3, 2, "VALID")


def _at_35(pool: int) -> dict[str, list[_Step]]:
    return {
        "1x1": [_Conv(64)],
        "5x5": [_Conv(48), _Conv(64, _5x5)],
        "3x3dbl": [_Conv(64), _Conv(96, _3x3), _Conv(96, _3x3)],
        "_pool": [_average, _Conv(pool)],
    }


def _at_17(c: int) -> dict[str, list[_Step]]:
    return {
        "1x1": [_Conv(192)],
        "7x7": [_Conv(c), _Conv(c, _1x7), _Conv(192, _7x1)],
        "7x7dbl": [_Conv(c), _Conv(c, _7x1), _Conv(c, _1x7), _Conv(c, _7x1), _Conv(192, _1x7)],
        "_pool": [_average, _Conv(192)],
    }


def _at_8(pool: _Pool) -> dict[str, list[_Step]]:
    return {
        "1x1": [_Conv(320)],
        "3x3": [_Conv(384), _fork],
        "3x3dbl": [_Conv(448), _Conv(384, _3x3), _fork],
        "_pool": [pool, _Conv(192)],
    }


STEM: dict[str, _Step] = {
    "Conv2d_1a_3x3": _halving(32),
    "Conv2d_2a_3x3": _Conv(32, _3x3, padding="VALID"),
    "Conv2d_2b_3x3": _Conv(64, _3x3),
    "MaxPool_1": _halved,
    "Conv2d_3b_1x1": _Conv(80),
    "Conv2d_4a_3x3": _Conv(192, _3x3, padding="VALID"),
    "MaxPool_2": _halved,
}
BLOCKS: dict[str, dict[str, list[_Step]]] = {
    "Mixed_5b": _at_35(32),
    "Mixed_5c": _at_35(64),
    "Mixed_5d": _at_35(64),
    "Mixed_6a": {"3x3": [_halving(384)], "3x3dbl": [_Conv(64), _Conv(96, _3x3), _halving(96)], "_pool": [_halved]},
    "Mixed_6b": _at_17(128),
    "Mixed_6c": _at_17(160),
    "Mixed_6d": _at_17(160),
    "Mixed_6e": _at_17(192),
    "Mixed_7a": {
        "3x3": [_Conv(192), _halving(320)],
        "7x7x3": [_Conv(192), _Conv(192, _1x7), _Conv(192, _7x1), _halving(192)],
        "_pool": [_halved],
    },
    "Mixed_7b": _at_8(_average),
    "Mixed_7c": _at_8(_maximum),
}
"""Blocks at 35, 17 and 8 pixels: the steps of each branch."""


class Inception(nn.Module):
    """Map uint8 [B, H, W, 3] to features [B, 2048] and logits [B, 1008], float32 at full precision on every device.

    Logits omit the last layer's bias, as the original Inception Score does. Batch norm uses stored statistics.
    size: of the images that the layers see; 0: that of the input, which has a height and width of 75 or more.
    """

    size: int = SIZE

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        resized = tf1_bilinear(images, self.size) if self.size else jnp.asarray(images, jnp.float32)
        x = (resized - 128) / 128
        for name, step in STEM.items():
            x = _apply(step, x, name)
        for name in BLOCKS:
            x = _Mixed(name, name=name)(x)
        features = x.mean((1, 2))
        return features, nn.Dense(CLASSES, use_bias=False, precision=jax.lax.Precision.HIGHEST, name="fc")(features)


class SpatialInception:
    """Inception with the spatial features of sFID (Nash et al. 2021) for features: [B, 2023], before batch norm."""

    init = staticmethod(lambda *arguments: Inception().init(*arguments))

    def apply(self, params, images: Image) -> tuple[jax.Array, jax.Array]:
        """Return features [B, 17 * 17 * 7] and logits [B, 1008] of uint8 [B, H, W, 3]."""
        (_, logits), sown = Inception().apply(params, images, mutable=["intermediates"])
        block, convolution, channels = SPATIAL
        outputs = sown["intermediates"][block][convolution]["outputs"][0]
        return outputs[..., :channels].reshape(len(outputs), -1), logits


def tf1_bilinear(images: Image, size: int) -> jax.Array:
    """Resize [B, H, W, C] to float32 [B, size, size, C], in the units of `images`, as TensorFlow 1 does; FID needs it.

    As tf.image.resize_bilinear with align_corners=False: pixel i samples the source at i * H / size, without the half-pixel
    offset of centres, and without antialiasing. jax.image.resize differs in both, which changes FID (Parmar et al. 2022).
    """
    x = jnp.asarray(images, jnp.float32)
    for axis in (2, 1):
        # In float32, as in TensorFlow: the lower pixel depends on the rounding.
        source = np.arange(size, dtype=np.float32) * np.float32(x.shape[axis] / size)
        low = np.floor(source).astype(np.int32)
        share = np.expand_dims(source - low.astype(np.float32), [i for i in range(x.ndim) if i != axis])
        here, beyond = (jnp.take(x, i, axis) for i in (low, np.minimum(low + 1, x.shape[axis] - 1)))
        x = here + (beyond - here) * share
    return x


class _Mixed(nn.Module):
    """A block. The convolutions of a branch are numbered if there are several; at most one follows a pool."""

    block: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = []
        for name, steps in BLOCKS[self.block].items():
            several = len(steps) > 1 and not callable(steps[0])
            y = x
            for number, step in enumerate(steps, 1):
                y = _apply(step, y, f"branch{name}_{number}" if several else f"branch{name}")
            outputs.append(y)
        return jnp.concatenate(outputs, -1)


class _Unit(nn.Module):
    conv: _Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(*self.conv, use_bias=False, precision=jax.lax.Precision.HIGHEST, name="conv")(x)
        self.sow("intermediates", "outputs", x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


def _apply(step: _Step, x: jax.Array, name: str) -> jax.Array:
    if callable(step):
        return step(x)
    if isinstance(step, _Conv):
        return _Unit(step, name=name)(x)
    first, second = step
    return jnp.concatenate([_Unit(first, name=f"{name}a")(x), _Unit(second, name=f"{name}b")(x)], -1)
