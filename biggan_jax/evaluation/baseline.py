"""Scores of real images, and a network's accuracy on them, to compare scores of samples with."""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from biggan_jax.evaluation import formulas
from biggan_jax.evaluation.cache import cached, hash_of_arrays
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.metrics import FORMULAS, OF_IMAGES, compute
from biggan_jax.evaluation.reference import Reference
from biggan_jax.types import UserError

PREFIX = "real_"
"""Begins the names of scores of real images: real_frechet_distance stands beside frechet_distance."""

ACCURACIES = ("class_agreement", "caption_agreement")
"""The names of the scores that, of real images, are the network's accuracy."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Real images that are scored as samples are.

    name: in words. images: their features. reference: what they are compared with. labelled: features of images for the
    network's accuracy, which it was not fitted to; None if it does not know their classes or captions.
    """

    name: str
    images: Features
    reference: Reference
    labelled: Features | None = None

    def scores(self, names: Sequence[str], mesh: Mesh | None = None) -> dict[str, float]:
        """Return the scores of the metrics of these names, and the accuracy, without those that need more images."""
        found: dict[str, float] = {}
        for name in dict.fromkeys([*names, "agreement"]):
            samples = self.labelled if name == "agreement" else self.images
            if samples is not None and len(samples.labels):
                with contextlib.suppress(UserError):
                    found |= _cached_scores(samples, self.reference, name, mesh)
        return {f"{PREFIX}{name}": value for name, value in found.items()}


def of_halves(reference: Reference, labelled: Features | None = None) -> Baseline:
    """Compare half of the reference's images with the others; where it has statistics (mu, sigma), with these.

    The halves are drawn at random, always alike: in a file, classes may come in turn.
    """
    order = np.random.default_rng(0).permutation(len(reference.kept.labels))
    first, second = (Features(*(array[np.sort(order[start::2])] for array in reference.kept)) for start in (0, 1))
    moments, against = reference.moments, f"{len(second.labels):,} others"
    if not moments.count:
        against += ", or mu and sigma"
    elif len(second.labels) > 1:
        moments = formulas.moments([second.features])
    name = f"{len(first.labels):,} of the real images against {against}" if len(first.labels) else "no images"
    return Baseline(name, first, dataclasses.replace(reference, moments=moments, kept=second), labelled)


def _cached_scores(samples: Features, reference: Reference, name: str, mesh: Mesh | None) -> dict[str, float]:
    """Return the scores of one metric, which are computed once."""
    arrays = {"a": samples.features, "logits": samples.logits, "labels": samples.labels}
    arrays |= {"mean": reference.moments.mean, "covariance": reference.moments.covariance}
    if name in OF_IMAGES:
        arrays |= {"b": reference.kept.features, "real_labels": reference.kept.labels}
    values = lambda: compute(samples, reference, [name], mesh).overall.items()
    make = lambda: {key: np.asarray(value, np.float64) for key, value in values()}
    found = cached("real", f"{name} {FORMULAS} {hash_of_arrays(arrays)}", make)
    return {key: float(value) for key, value in found.items()}
