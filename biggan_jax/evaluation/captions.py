"""Two small encoders that match images with captions, fitted to the training split, never to other images."""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.augment import translate
from biggan_jax.conditioning import direction
from biggan_jax.data.dataset import Source
from biggan_jax.data.loader import HostBatches
from biggan_jax.models.text_to_image import ImageEncoder, TextEncoder, matching_loss
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Label, Params, UserError

RECIPE = 1  # Version of network and fit in cache keys; increase it whenever either changes.

WIDTH = 128  # Length of an embedding.
SIDE = 32  # Pixels; larger images are averaged down to this size, or less than twice of it.

AMONG = 10
"""Captions of which one is the right one, in `agreement`."""


class Encoders(nn.Module):
    """An encoder of images [B, side, side, 3] and one of captions; both give directions [B, WIDTH]."""

    side: int

    def setup(self):
        self.image = ImageEncoder(self.side // factor_of(self.side), WIDTH, 24)
        self.text = TextEncoder(WIDTH, 48)

    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        """Map uint8, or float32 in [-1, 1], to embeddings, and logits of 0 [B, 1]."""
        x = to_float(images)
        window = (factor_of(self.side),) * 2
        return self.image(nn.avg_pool(x, window, strides=window)), jnp.zeros((len(x), 1))

    def of_texts(self, captions: Label) -> jax.Array:
        """Map captions, int [B, L], to embeddings."""
        return direction(self.text(captions))

    def both(self, images: Image, captions: Label) -> tuple[jax.Array, jax.Array]:
        """Return the embeddings of images, and those of captions."""
        return self(images)[0], self.of_texts(captions)


def factor_of(side: int) -> int:
    """Return the factor by which images of `side` pixels are averaged down."""
    return max(side // SIDE, 1)


def encoders_of(source: Source) -> Encoders:
    """Return the encoders of a source's images."""
    return Encoders(source.read(np.arange(1), np.full(1, 0.5)).images.shape[1])


def fit(source: Source, *, seed: int = 0, steps: int = 800, batch_size: int = 32) -> Params:
    """Fit by Adam, on images shifted by up to a sixteenth of their size, with one of their captions, drawn each time."""
    network, batches = encoders_of(source), HostBatches(source, seed, 0, 1, batch_size, False, "center", captions=1)
    first, _ = batches(0)
    example = to_rgb(first["image"][0][:1]), first["label"][0][:1, 0]
    params = cast(Params, network.init(jax.random.key(seed), *example, method="both"))
    optimizer = optax.adam(1e-3)
    moments = optimizer.init(params)

    @jax.jit
    def step(params, moments, images, captions, i):
        x = translate(to_float(images), jax.random.fold_in(jax.random.key(seed), i), ratio=1 / 16)

        def loss(params):
            of_images, of_texts = network.apply(params, x, captions, method="both")
            return matching_loss(of_texts, of_images, captions)[0]

        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return optax.apply_updates(params, updates), moments

    for i in range(steps):
        batch, _ = batches(i)
        params, moments = step(params, moments, to_rgb(batch["image"][0]), batch["label"][0][:, 0], jnp.int32(i))
    return params


def agreement(images: np.ndarray, texts: np.ndarray, captions: np.ndarray, seed: int = 0) -> float:
    """Return the share of images whose own caption is the nearest of AMONG, the others drawn at random from other captions.

    images, texts: directions float [N, E] of images and of their captions. captions: int [N, L]. Chance is 1 / AMONG. Raises
    UserError for fewer different captions.
    """
    check(captions)
    rng, right = np.random.default_rng(seed), 0
    _, own = np.unique(captions, axis=0, return_inverse=True)
    for i, number in enumerate(own):
        others = rng.choice(np.flatnonzero(own != number), AMONG - 1, replace=False)
        right += images[i] @ texts[i] > (texts[others] @ images[i]).max()
    return float(right / len(images))


def check(captions: np.ndarray) -> None:
    """Raise UserError if captions, int [N, L], are too few to choose among."""
    different = len(np.unique(captions, axis=0))
    if different < AMONG:
        what = f"agreement compares {AMONG} different captions, but these images have {different}"
        raise UserError(f"{what}; choose other metrics")
