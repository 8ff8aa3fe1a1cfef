"""DiffAugment: random differentiable augmentation of D's real and fake images (Zhao et al. 2020).

It reduces overfitting of the discriminator to a small data set.
"""

import jax
import jax.numpy as jnp

from biggan_jax.types import Image


def translate(x: Image, key: jax.Array, ratio: float = 0.125) -> Image:
    """Shift each image by up to `ratio` of its size in both directions, padding with grey (0)."""
    b, h, w, _ = x.shape
    reach_y, reach_x = round(h * ratio), round(w * ratio)
    key_y, key_x = jax.random.split(key)
    rows = jnp.arange(h) + jax.random.randint(key_y, (b, 1), -reach_y, reach_y + 1)
    columns = jnp.arange(w) + jax.random.randint(key_x, (b, 1), -reach_x, reach_x + 1)
    # One-hot matrices, not gathers: a gather's gradient is a scatter, slow on TPU.
    x = jnp.einsum("byi,bijc->byjc", jax.nn.one_hot(rows, h), x, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("bxj,byjc->byxc", jax.nn.one_hot(columns, w), x, precision=jax.lax.Precision.HIGHEST)


def colour(x: Image, key: jax.Array) -> Image:
    """Change each image's brightness (by -0.5 to 0.5), saturation (times 0 to 2) and contrast (times 0.5 to 1.5)."""
    brightness, saturation, contrast = (jax.random.uniform(k, (x.shape[0], 1, 1, 1)) for k in jax.random.split(key, 3))
    x = x + brightness - 0.5
    grey = x.mean(3, keepdims=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdims=True)
    return (x - mean) * (contrast + 0.5) + mean


def cutout(x: Image, key: jax.Array, ratio: float = 0.5) -> Image:
    """Replace by grey (0) a rectangle of `ratio` of the image's height and width, centred anywhere in the image."""
    b, h, w, _ = x.shape
    key_y, key_x = jax.random.split(key)

    def inside(k, size):
        length = round(size * ratio)
        first = jax.random.randint(k, (b, 1), 0, size + 1 - length % 2) - length // 2
        position = jnp.arange(size) - first
        return (position >= 0) & (position < length)

    hole = inside(key_y, h)[:, :, None, None] & inside(key_x, w)[:, None, :, None]
    return jnp.where(hole, 0.0, x)


POLICIES = {"colour": colour, "translation": translate, "cutout": cutout}


def apply(x: Image, key: jax.Array, policy: tuple[str, ...]) -> Image:
    """Apply the augmentations named by `policy`, in order, to x, float32 [B, H, W, 3] in [-1, 1]."""
    for name, k in zip(policy, jax.random.split(key, max(len(policy), 1)), strict=False):
        x = POLICIES[name](x, k)
    return x
