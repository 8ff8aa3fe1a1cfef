"""Owns the judgement of a generator on a small labelled data set: do its samples look like their class, and like the real ones?

It must not pass for Inception FID or IS, and says so.
"""

import jax
import numpy as np

from biggan_jax import sampling
from biggan_jax.data.source import Images
from biggan_jax.evaluation import frechet
from biggan_jax.evaluation.classifier import Classifier
from biggan_jax.gan import GAN
from biggan_jax.types import Params

PROTOCOL = (
    "Not Inception FID, and not comparable with it: features and classes are those of a small classifier fitted on this "
    "data set's training split; Frechet distances are between {num} samples and all held-out real images, and for real "
    "images between {num} training and all held-out ones; samples are balanced over classes, of the averaged weights, "
    "without truncation, with standing statistics."
)


def judge_samples(
    gan: GAN, params: Params, u: Params, classifier: Classifier, held_out: Images, *, seed: int = 0, num: int = 1000
) -> tuple[float, float]:
    """(class agreement, Frechet distance) of `num` samples of a conditional G.

    Class agreement: the share that the classifier assigns to the class that was asked for.
    """
    weights = sampling.evaluation_weights(gan, params, u)
    moments = sampling.standing_statistics(gan, weights, seed)
    z = sampling.draw_latents(gan, jax.random.key(seed), num)
    y = np.arange(num, dtype=np.int32) % gan.num_classes
    images = sampling.to_uint8(sampling.generate(gan, weights, moments, z, y))
    classes, features = classifier(images)
    _, real_features = classifier(held_out.images)
    return float((classes == y).mean()), _distance(real_features, features)


def judge_real(classifier: Classifier, train: Images, held_out: Images, *, num: int = 1000) -> tuple[float, float]:
    """The same two figures for real images: held-out agreement, and training against held-out features."""
    classes, features = classifier(held_out.images)
    chosen = np.random.default_rng(0).permutation(len(train))[:num]
    _, train_features = classifier(train.images[chosen])
    return float((classes == held_out.labels).mean()), _distance(features, train_features)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return frechet.distance(frechet.moments(a), frechet.moments(b))
