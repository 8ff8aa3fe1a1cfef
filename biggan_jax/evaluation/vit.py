"""Vision transformers that evaluate images: DINOv2 (Oquab et al. 2023) and CLIP's image encoders (Radford et al. 2021)."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.types import Image


class Size(NamedTuple):
    """image, patch: edges in pixels. width, depth, heads: of the transformer. table: edge of the stored grid of positions, in
    patches. features: length of the output; of DINOv2 the width.
    """

    image: int
    patch: int
    width: int
    depth: int
    heads: int
    table: int
    features: int


DINOV2_L14 = Size(224, 14, 1024, 24, 16, 37, 1024)
CLIP_B32 = Size(224, 32, 768, 12, 12, 7, 512)
CLIP_L14_336 = Size(336, 14, 1024, 24, 16, 24, 768)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of images in [0, 1]."""

OFFSET = 0.1
"""DINOv2 interpolates positions to a grid larger by this, so that rounding does not change its size."""

_precise = functools.partial(nn.Dense, precision=jax.lax.Precision.HIGHEST)


class DinoV2(nn.Module):
    """Map uint8 or float32 [B, S, S, 3] in [0, 255] to features [B, width], the normalised class token, and logits of 0 [B, 1]."""

    size: Size = DINOV2_L14

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        s = self.size
        x = _patches(standardised(images, *IMAGENET), s, use_bias=True)
        start = self.param("cls_token", nn.initializers.zeros, (1, 1, s.width))
        positions = self.param("pos_embed", nn.initializers.normal(0.02), (1, 1 + s.table**2, s.width))
        x = jnp.concatenate([jnp.broadcast_to(start, (len(x), 1, s.width)), x], 1)
        x += positions_for(positions, s.table, s.image // s.patch)
        for i in range(s.depth):
            x = _Block(s, epsilon=1e-6, scaled=True, quick=False, name=f"block_{i}")(x)
        features = nn.LayerNorm(epsilon=1e-6, name="norm")(x[:, 0])
        return features, jnp.zeros((len(x), 1))


class Clip(nn.Module):
    """Map uint8 or float32 [B, S, S, 3] in [0, 255] to image embeddings [B, features], not normalised, and logits of 0 [B, 1]."""

    size: Size = CLIP_B32

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        s = self.size
        x = _patches(standardised(images, *CLIP), s, use_bias=False)
        start = self.param("class_embedding", nn.initializers.zeros, (s.width,))
        positions = self.param("positional_embedding", nn.initializers.normal(0.02), (1 + s.table**2, s.width))
        x = jnp.concatenate([jnp.broadcast_to(start, (len(x), 1, s.width)), x], 1) + positions
        x = nn.LayerNorm(epsilon=1e-5, name="ln_pre")(x)
        for i in range(s.depth):
            x = _Block(s, epsilon=1e-5, scaled=False, quick=True, name=f"block_{i}")(x)
        x = nn.LayerNorm(epsilon=1e-5, name="ln_post")(x[:, 0])
        projection = self.param("proj", nn.initializers.normal(0.02), (s.width, s.features))
        return jnp.matmul(x, projection, precision=jax.lax.Precision.HIGHEST), jnp.zeros((len(x), 1))


class _Block(nn.Module):
    """Attention and a perceptron, each after layer norm and with a skip connection.

    scaled: by LayerScale. quick: CLIP's approximation of GELU.
    """

    size: Size
    epsilon: float
    scaled: bool
    quick: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = self.size.width
        norm = functools.partial(nn.LayerNorm, epsilon=self.epsilon)
        y = self._attention(norm(name="norm1")(x))
        x += y * self.param("ls1", nn.initializers.ones, (width,)) if self.scaled else y
        y = _precise(4 * width, name="fc1")(norm(name="norm2")(x))
        y = y * nn.sigmoid(1.702 * y) if self.quick else nn.gelu(y, approximate=False)
        y = _precise(width, name="fc2")(y)
        return x + (y * self.param("ls2", nn.initializers.ones, (width,)) if self.scaled else y)

    def _attention(self, x: jax.Array) -> jax.Array:
        b, n, width = x.shape
        heads = self.size.heads
        q, k, v = jnp.moveaxis(_precise(3 * width, name="qkv")(x).reshape(b, n, 3, heads, width // heads), 2, 0)
        highest = jax.lax.Precision.HIGHEST
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=highest) * (width // heads) ** -0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v, precision=highest)
        return _precise(width, name="proj")(mixed.reshape(b, n, width))


def _patches(x: jax.Array, size: Size, *, use_bias: bool) -> jax.Array:
    """Embed patches: [B, S, S, 3] to [B, patches, width], row by row."""
    patch = (size.patch, size.patch)
    conv = nn.Conv(
        size.width, patch, patch, "VALID", use_bias=use_bias, precision=jax.lax.Precision.HIGHEST, name="patch"
    )
    return conv(x).reshape(len(x), -1, size.width)


def standardised(images: Image, mean: tuple[float, ...], deviation: tuple[float, ...]) -> jax.Array:
    """Return images of [0, 255] with this mean and deviation of [0, 1] taken out, float32."""
    return (jnp.asarray(images, jnp.float32) / 255 - jnp.array(mean)) / jnp.array(deviation)


def positions_for(given: jax.Array | np.ndarray, table: int, grid: int) -> jax.Array:
    """Interpolate positions [1, 1 + table^2, width], the first of the class token, to a grid: [1, 1 + grid^2, width]."""
    positions = jnp.asarray(given)
    if grid == table:
        return positions
    weights = bicubic(table, grid, (grid + OFFSET) / table)
    of_patches = positions[0, 1:].reshape(table, table, -1)
    highest = jax.lax.Precision.HIGHEST
    made = jnp.einsum("oh,hwc,pw->opc", weights, of_patches, weights, precision=highest)
    return jnp.concatenate([positions[:, :1], made.reshape(1, grid * grid, -1)], 1)


@functools.lru_cache
def bicubic(length: int, size: int, factor: float) -> np.ndarray:
    """Return torch's bicubic weights, float32 [size, length], for a scale factor, without antialiasing (a = -0.75)."""
    a, weights = -0.75, np.zeros((size, length))
    for i in range(size):
        position = (i + 0.5) / factor - 0.5
        low = int(np.floor(position))
        t = position - low
        near = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1
        far = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        for offset, weight in zip(range(-1, 3), (far(t + 1), near(t), near(1 - t), far(2 - t)), strict=True):
            weights[i, min(max(low + offset, 0), length - 1)] += weight
    return weights.astype(np.float32)
