"""How well D knows the class of an image, for any head of D."""

from typing import Any

import jax
import jax.numpy as jnp

from biggan_jax.conditioning import Output, direction
from biggan_jax.gan import GAN
from biggan_jax.types import Label


def other_labels(y: Label, classes: int) -> Label:
    """Return a label of another class for each label [B]; neighbours in the batch get other steps around the classes."""
    return (y + 1 + jnp.arange(len(y)) % (classes - 1)) % classes


def agreement(gan: GAN, output: Any, of_other: Any, y: Label) -> jax.Array:
    """Return the share of images for which D prefers their own label y [B]: 0.5 by chance, or if D ignores labels.

    output, of_other: D's output for the images with y, and with `other_labels` of y.
    """
    other = other_labels(y, gan.num_classes)
    own, others = _fit(gan, output, y), _fit(gan, of_other, other)
    return jnp.mean((own > others) + 0.5 * (own == others)) + 0 * jnp.sum(own - others)


def _fit(gan: GAN, output: Any, y: Label) -> jax.Array:
    """Return how well each image fits its label [B]: by the logit of the class, or by the proxy, or by D's logit."""
    if isinstance(output, Output) and output.classes is not None:
        return jnp.take_along_axis(output.classes, y[:, None], axis=1)[:, 0]
    if isinstance(output, Output) and output.embedding is not None and output.proxy is not None:
        return jnp.sum(direction(output.embedding) * direction(output.proxy), axis=-1)
    return gan.logit_of(output)
