"""Gradients for which D works through the images of a batch in chunks, which saves memory.

Both are for Update.gradient. If the loss is a mean over images, they equal its gradient up to rounding and random draws
(augmentation, dropout): each chunk has its own key. With one chunk, augmentation draws as without chunks.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax.family import Family, Moving, Nets, Trees, Update
from biggan_jax.gradients import loop, of_loss, scatter_slice, strided_slice
from biggan_jax.terms import Shown
from biggan_jax.types import Batch, Image, Metrics

Show = Callable[[Nets, Batch, jax.Array], tuple[Shown, Any]]
"""From a batch to the images of an update, and what is added to its loss besides them."""
LossOfImages = Callable[[Nets, Shown, jax.Array], tuple[jax.Array, Metrics]]
Gradient = Callable[..., tuple[Trees, tuple[Moving, Metrics]]]


def of_d(chunks: int, show: Show, loss: LossOfImages) -> Gradient:
    """Return how D's gradient is taken, chunk by chunk. All images are generated at once, since G has batch statistics."""

    def gradient(family: Family, update: Update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        nets = Nets(family, weights, moving, key)
        shown, _ = show(nets, batch, key)

        def of_chunk(chunk: Shown, key: jax.Array):
            of_weights = lambda d_weights: loss(nets.with_weights({"D": d_weights}, key), chunk, key)
            return jax.grad(of_weights, has_aux=True)(weights["D"])

        grads, metrics = mean_over_chunks(family, chunks, of_chunk, shown._replace(z=None), key)
        return {"D": grads}, (nets.moving, metrics)

    return gradient


def of_g(chunks: int, show: Show, loss: LossOfImages) -> Gradient:
    """Return how G's gradient is taken: with respect to images through D in chunks, and pulled back through G once.

    With one chunk it is the gradient of the loss, by a program that the TPU compiler makes 0.5 % faster. A D with statistics
    of its batch sees it whole.
    """

    def gradient(family: Family, update: Update, weights: Trees, moving: Moving, batch: Batch, key: jax.Array):
        if moving.variables["D"]:
            return of_loss(family, update, weights, moving, batch, key)
        nets = Nets(family, weights, moving, key)

        def generate(g_weights):
            inner = nets.with_weights({"G": g_weights})
            shown, _ = show(inner, batch, key)
            return shown.fake, (shown._replace(fake=None, z=None), inner.moving)

        fake, pullback, (others, moving) = jax.vjp(generate, weights["G"], has_aux=True)
        score = lambda fake, others, key: loss(nets.with_weights({}, key), others._replace(fake=fake), key)
        value, metrics, to_fake = value_and_gradient_in_chunks(family, chunks, score, fake, others, key)
        return {"G": pullback(to_fake)[0]}, (moving, {f"{update.prefix}_loss": value} | metrics)

    return gradient


def mean_over_chunks(family: Family, chunks: int, function, batch: tuple, key: jax.Array):
    """Average function(chunk, key) over chunks of `batch`; equal to the whole batch if its examples are independent."""

    def one(i, _):
        return None, function(strided_slice(batch, chunks, i), jax.random.fold_in(key, i))

    _, total = loop(family, chunks, one, None)
    return jax.tree.map(lambda x: x / chunks, total)


def value_and_gradient_in_chunks(
    family: Family, chunks: int, loss, x: Image, others, key: jax.Array
) -> tuple[jax.Array, Metrics, Image]:
    """Return (value, metrics) of loss(x, others, key), means over images, and the gradient with respect to x, chunk by chunk."""

    def one(i, gradient):
        (chunk, chunk_others), chunk_key = strided_slice((x, others), chunks, i), jax.random.fold_in(key, i)
        share = lambda chunk: jax.tree.map(lambda mean: mean / chunks, loss(chunk, chunk_others, chunk_key))
        (value, metrics), part = jax.value_and_grad(share, has_aux=True)(chunk)
        return scatter_slice(gradient, jnp.moveaxis(part, -1, 1), chunks, i), (value, metrics)

    # Channels first: a TPU pads a last axis of 3 to 128.
    gradient, (value, metrics) = loop(family, chunks, one, jnp.zeros_like(jnp.moveaxis(x, -1, 1)))
    return value, metrics, jnp.moveaxis(gradient, 1, -1)
