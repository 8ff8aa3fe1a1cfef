"""Regularization terms of a network's raw weights, of its gradient with respect to its input, or of its outputs.

D maps images [B, ...] to logits [B]. Where each logit depends on its own image alone, the gradient of their sum holds that of
each; with batch norm in D it is that of the batch's sum, as in StudioGAN.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from biggan_jax.layers.spectral import group_by_shape, outputs_last
from biggan_jax.types import Image, Logit, Params

Discriminate = Callable[[Image], Logit]


def orthogonal(params: Params, *, exclude: tuple[str, ...] = ("shared",)) -> jax.Array:
    """Return the sum over weights W [in, out] of ||W^T W o (1 - I)||_F^2 (Brock et al. 2019, sec. 3.1, eq. 3).

    It is zero if all output filters of each weight are orthogonal. It counts kernels and embeddings, whose filters are
    their classes; not biases, gains and, as in BigGAN-PyTorch, G's shared class embedding. Weights are raw, before
    spectral norm.
    """
    weights = {path: weight for path, weight in _weights(params) if path[0] not in exclude}
    groups = [jnp.stack([outputs_last(path, weights[path]) for path in paths]) for paths in group_by_shape(weights)]
    return sum((jax.vmap(_squared_products)(group).sum() for group in groups), jnp.float32(0))


def gradient_penalty(discriminate: Discriminate, x: Image) -> jax.Array:
    """Return E ||grad_x D(x)||^2 / 2, the zero-centred penalty: R1 of real images, R2 of fake ones (Mescheder et al. 2018)."""
    grads = jax.grad(lambda x: discriminate(x).sum())(x)
    return jnp.mean(jnp.sum(jnp.square(grads), tuple(range(1, x.ndim)))) / 2


def gradient_norms(discriminate: Discriminate, x: Image) -> jax.Array:
    """Return ||grad_x D(x)||, [B]. At a gradient of zero its own gradient is zero."""
    grads = jax.grad(lambda x: discriminate(x).sum())(x)
    squares = jnp.sum(jnp.square(grads), tuple(range(1, x.ndim)))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def mix(real: Image, fake: Image, share: jax.Array) -> Image:
    """Mix each real image with its fake one; share [B] is that of the real one."""
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    return share * real + (1 - share) * fake


def perturb(real: Image, share: jax.Array, noise: jax.Array) -> Image:
    """Add share [B] x noise, in [0, 1], x half the batch's standard deviation (Kodali et al. 2017, DRAGAN)."""
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    return real + share * (0.5 * jnp.std(real, ddof=1) * noise)


def one_centred(discriminate: Discriminate, x: Image, target: float = 1.0) -> jax.Array:
    """Return E (||grad_x D(x)|| - 1)^2: on mixed images that of WGAN-GP (Gulrajani et al. 2017), on perturbed ones DRAGAN's.

    target: the norm in place of 1; the result is divided by its square (Karras et al. 2018, appendix A.1).
    """
    return jnp.mean(jnp.square(gradient_norms(discriminate, x) - target)) / target**2


def drift(logits: Logit) -> jax.Array:
    """Return E D(x)^2, which keeps D's logits of real images near 0 (Karras et al. 2018, appendix A.1)."""
    return jnp.mean(jnp.square(logits))


def largest(discriminate: Discriminate, x: Image) -> jax.Array:
    """Return max ||grad_x D(x)||^2 over a batch of mixed images (Zhou et al. 2019, Lipschitz GAN)."""
    return jnp.max(jnp.square(gradient_norms(discriminate, x)))


def lecam(real: Logit, fake: Logit, real_anchor: jax.Array, fake_anchor: jax.Array) -> jax.Array:
    """Return E relu(r - fake anchor)^2 + E relu(real anchor - f)^2 (Tseng et al. 2021). Anchors: moving means of the logits."""
    square = lambda x: jnp.mean(jnp.square(jax.nn.relu(x)))
    return square(real - fake_anchor) + square(real_anchor - fake)


def consistency(a, b) -> jax.Array:
    """Return the squared distance of D's outputs for two views of the same images (Zhang et al. 2020, CR-GAN).

    The means of logits, and of embeddings or logits of classes where D has them, are added.
    """
    return sum(
        (jnp.mean(jnp.square(x - y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)),
        jnp.float32(0),
    )


def feature_matching(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Return the mean absolute difference of the mean features of two batches [B, C], as StudioGAN has it.

    Salimans et al. 2016 have the squared length of the difference.
    """
    return jnp.mean(jnp.abs(fake.mean(0) - real.mean(0)))


def clip(params: Params, bound: float) -> Params:
    """Clip every weight to [-bound, bound] (Arjovsky et al. 2017)."""
    return jax.tree.map(lambda w: jnp.clip(w, -bound, bound), params)


def top_k(fake: Logit, k: jax.Array) -> jax.Array:
    """Return a weight per image for G's loss [B]: B / k for the k images with D's highest logits, else 0 (Sinha et al. 2020)."""
    rank = jnp.argsort(jnp.argsort(-fake))
    return jnp.where(rank < k, fake.size / k, 0.0)


def _squared_products(weight: jax.Array) -> jax.Array:
    """Return the sum of squared products of all pairs of different columns of the matrix [..., in, out]."""
    dot = lambda axes: jnp.tensordot(weight, weight, (axes, axes), precision=jax.lax.Precision.HIGHEST)
    *inputs, outputs = range(weight.ndim)
    if weight.size >= weight.shape[-1] ** 2:
        return jnp.sum(jnp.square(dot(inputs) * (1 - jnp.eye(weight.shape[-1]))))
    # ||W^T W|| = ||W W^T||, and the latter is smaller here: G's first layer has 20 inputs and 24,576 outputs. More
    # columns than dimensions cannot be orthogonal, so the difference does not cancel.
    lengths = jnp.sum(jnp.square(weight), axis=inputs)
    return jnp.sum(jnp.square(dot([outputs]))) - jnp.sum(jnp.square(lengths))


def _weights(params: Params):
    for path, weight in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(entry.key for entry in path)
        if names[-1] in ("kernel", "embedding"):
            yield names, weight
