"""Owns which scores there are, and scoring what was seen of samples against what is known of real images. Must not draw samples.

A score of another network than Inception is never called FID or IS without saying so; the protocol carries the note.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.evaluation import frechet, inception_score, kid, neighbours
from biggan_jax.evaluation.features import Seen
from biggan_jax.evaluation.reference import KEPT, Reference
from biggan_jax.types import UserError

FORMULAS = (
    f"IS over {inception_score.SPLITS} splits, KID of {kid.SUBSETS} subsets of up to {kid.SUBSET_SIZE}, "
    f"precision and recall by {neighbours.K_PRECISION} neighbours, density and coverage by {neighbours.K_DENSITY}, "
    f"each of up to {KEPT:,} real images"
)
"""Constants, as protocols carry them."""


class Scores(NamedTuple):
    """overall: name to figure; by_class: name to {class: figure}."""

    overall: dict[str, float]
    by_class: dict[str, dict[int, float]]


def scores(samples: Seen, reference: Reference, wanted: Sequence[str], mesh: Mesh | None = None) -> Scores:
    """Of the names in SCORES that are wanted. Raises UserError where there are too few images for one."""
    found = Scores({}, {})
    for name in wanted:
        figures, classes = choose(SCORES, "the score", name)(samples, reference, mesh)
        found.overall.update(figures)
        found.by_class.update(classes)
    return found


def _fid(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    return Scores({"frechet_distance": frechet.distance(frechet.moments(samples.features), reference.moments)}, {})


def _is(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    mean, std = inception_score.inception_score(samples.logits)
    return Scores({"inception_score": mean, "inception_score_std": std}, {})


def _kid(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    mean, std, size = kid.kernel_distance(samples.features, reference.kept.features)
    return Scores({"kernel_distance": mean, "kernel_distance_std": std, "kernel_distance_subset": size}, {})


def _prdc(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    return Scores(neighbours.scores(reference.kept.features, samples.features, mesh=mesh)._asdict(), {})


def _intra_fid(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    distances = frechet.by_class(samples.features, samples.labels, reference.kept.features, reference.kept.labels)
    if not distances:
        raise UserError("the score intra_fid needs two or more samples, and real images, of one class")
    mean = float(np.mean(list(distances.values())))
    return Scores({"frechet_distance_in_class": mean}, {"frechet_distance_in_class": distances})


def _agreement(samples: Seen, reference: Reference, mesh: Mesh | None) -> Scores:
    agrees = samples.logits.argmax(1) == samples.labels
    by_class = {int(c): float(agrees[samples.labels == c].mean()) for c in np.unique(samples.labels)}
    return Scores({"class_agreement": float(agrees.mean())}, {"class_agreement": by_class})


SCORES: dict[str, Callable[[Seen, Reference, Mesh | None], Scores]] = {
    "fid": _fid,
    "is": _is,
    "kid": _kid,
    "prdc": _prdc,
    "intra_fid": _intra_fid,
    "agreement": _agreement,
}
"""Frechet distance (Heusel et al. 2017); Inception Score (Salimans et al. 2016); kernel distance (Binkowski et al. 2018);
precision and recall (Kynkaanniemi et al. 2019) with density and coverage (Naeem et al. 2020); the mean over classes of the
Frechet distance within each (Miyato and Koyama 2018); the share of samples assigned to the class that was asked for."""
