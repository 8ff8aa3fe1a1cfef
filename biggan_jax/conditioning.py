"""How D is conditioned on classes: what its head returns, and the losses of it.

h are D's last features, pooled: [B, C]. Labels are int [B] or, where a mixture of classes makes sense, float [B, classes].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from biggan_jax.types import Label, Logit, UserError


class Output(NamedTuple):
    """D's output where it has more than a logit; what its head does not compute is None.

    classes: logits of classes [B, classes], and of fake if there is one more. embedding, proxy: of the image and of its
    label [B, n]. features: h.
    """

    logit: Logit
    classes: jax.Array | None = None
    embedding: jax.Array | None = None
    proxy: jax.Array | None = None
    features: jax.Array | None = None


def cross_entropy(output: Output, y: Label, *, temperature: float, margin: float) -> jax.Array:
    """Return the mean of -log softmax(classes)[y], for labels or mixtures of classes (Odena et al. 2017, AC-GAN)."""
    logits = require(output.classes)
    soft = y if y.ndim > 1 else jax.nn.one_hot(y, logits.shape[-1])
    return optax.softmax_cross_entropy(logits, soft).mean()


def contrastive(output: Output, y: Label, *, temperature: float, margin: float) -> jax.Array:
    """Return ContraGAN's conditional contrastive loss, 2C, over the whole batch (Kang & Park 2020, eq. 8).

    With directions e of embeddings and p of their labels' proxies: the mean of -log (a_i / b_i), where
    a_i = exp(e_i.p_i / t) + sum over other k of i's class exp(e_i.e_k / t), and b_i the same over all other k.
    """
    similar, to_proxy, same, other = _similarities(output, y)
    to_proxy = to_proxy[:, None] / temperature
    of = lambda which: jax.nn.logsumexp(
        jnp.concatenate([to_proxy, jnp.where(which, similar / temperature, -jnp.inf)], axis=1), axis=1
    )
    return jnp.mean(of(same | other) - of(same))


def data_to_data(output: Output, y: Label, *, temperature: float, margin: float) -> jax.Array:
    """Return ReACGAN's data-to-data cross entropy, D2D-CE, over the whole batch (Kang et al. 2021, eq. 7).

    With c_ik = relu((e_i.e_k + m - 1) / t), less the largest (e_i.e_k + m - 1) / t of the row, which gets no gradient, and
    b_i = relu((m - e_i.p_i) / t): the mean of b_i + log [exp(-b_i) + sum over other classes exp(c_ik)], as StudioGAN has it.
    """
    similar, to_proxy, same, other = _similarities(output, y)
    pairs = (similar + margin - 1) / temperature
    largest = jnp.max(jnp.where(same | other, pairs, -jnp.inf), axis=1, keepdims=True)
    pairs = jax.nn.relu(pairs) - jax.lax.stop_gradient(largest)
    away = jax.nn.relu((margin - to_proxy) / temperature)
    return jnp.mean(away + jnp.log(jnp.exp(-away) + jnp.sum(jnp.where(other, jnp.exp(pairs), 0), axis=1)))


def normal_nll(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """Return the mean over a batch [B, n] of -log N(x; mean, variance), as StudioGAN has it, with 1e-6 added to variances.

    InfoGAN's loss of continuous codes (Chen et al. 2016, sec. 6), for a head of a family of one's own.
    """
    each = jnp.log(2 * jnp.pi * variance + 1e-6) / 2 + jnp.square(x - mean) / (2 * variance + 1e-6)
    return jnp.mean(jnp.sum(each, axis=-1))


def _similarities(output: Output, y: Label):
    """Return e_i.e_k [B, B], e_i.p_i [B], and where k is another image of i's class, or of another class."""
    if y.ndim > 1:
        raise UserError(
            "losses of embeddings need classes, not mixtures of them or real numbers; use condition.d ac or projection"
        )
    e, p = direction(require(output.embedding)), direction(require(output.proxy))
    equal, itself = y[:, None] == y[None], jnp.eye(len(y), dtype=bool)
    dot = lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return dot(e, e.T), jnp.sum(e * p, -1), equal & ~itself, ~equal


def direction(x: jax.Array) -> jax.Array:
    """Unit vectors, but at least 1e-8 divides, as in torch's cosine similarity. The gradient is finite at 0, too."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-16))


def require(part: jax.Array | None) -> jax.Array:
    """Return a part of an Output that the head must have computed."""
    assert part is not None, "D's head does not compute what its loss needs"
    return part


ClassLoss = Callable[..., jax.Array]

CLASS_LOSSES: dict[str, ClassLoss] = {"ac": cross_entropy, "contrastive": contrastive, "d2dce": data_to_data}
"""Losses by the name of D's head, to which D adds that of real images and G that of its own."""

HEADS = ("none", "projection", "ac", "contrastive", "d2dce", "multi_hinge")
"""Heads of D: without classes; by projection (Miyato & Koyama 2018); or by a loss of CLASS_LOSSES or multi_hinge."""


def as_vector(y: Label, size: int) -> jax.Array:
    """Return the condition as float [B, size]: labels as one-hot rows; mixtures of classes and real numbers as they are."""
    return jax.nn.one_hot(y, size) if jnp.issubdtype(y.dtype, jnp.integer) else jnp.asarray(y)
