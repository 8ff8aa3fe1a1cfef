"""Metrics of samples against real images, computed from features and logits.

Only with Inception features are they called FID, IS and KID; results of other networks carry a note in their protocol.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.evaluation import frechet, inception_score, kid, neighbours
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.reference import KEPT, Reference
from biggan_jax.types import UserError

FORMULAS = (
    f"IS over {inception_score.SPLITS} splits, KID of {kid.SUBSETS} subsets of up to {kid.SUBSET_SIZE}, "
    f"precision and recall by {neighbours.K_PRECISION} neighbours, density and coverage by {neighbours.K_DENSITY}, "
    f"each of up to {KEPT:,} real images"
)
"""Constants of the metrics, recorded in protocols."""


class Results(NamedTuple):
    """overall: name to value. by_class: name to {class: value}."""

    overall: dict[str, float]
    by_class: dict[str, dict[int, float]]


def compute(samples: Features, reference: Reference, names: Sequence[str], mesh: Mesh | None = None) -> Results:
    """Compute the metrics of these names in METRICS. Raises UserError if one needs more images."""
    results = Results({}, {})
    for name in names:
        overall, by_class = choose(METRICS, "the metric", name)(samples, reference, mesh)
        results.overall.update(overall)
        results.by_class.update(by_class)
    return results


def _fid(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    return Results({"frechet_distance": frechet.distance(frechet.moments(samples.features), reference.moments)}, {})


def _is(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    mean, std = inception_score.inception_score(samples.logits)
    return Results({"inception_score": mean, "inception_score_std": std}, {})


def _kid(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    mean, std, size = kid.kernel_distance(samples.features, reference.kept.features)
    return Results({"kernel_distance": mean, "kernel_distance_std": std, "kernel_distance_subset": size}, {})


def _prdc(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    return Results(neighbours.prdc(reference.kept.features, samples.features, mesh=mesh)._asdict(), {})


def _intra_fid(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    distances = frechet.by_class(samples.features, samples.labels, reference.kept.features, reference.kept.labels)
    if not distances:
        raise UserError("intra_fid needs two or more samples, and as many real images, of at least one class")
    mean = float(np.mean(list(distances.values())))
    return Results({"frechet_distance_in_class": mean}, {"frechet_distance_in_class": distances})


def _agreement(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    agrees = samples.logits.argmax(1) == samples.labels
    by_class = {int(c): float(agrees[samples.labels == c].mean()) for c in np.unique(samples.labels)}
    return Results({"class_agreement": float(agrees.mean())}, {"class_agreement": by_class})


METRICS: dict[str, Callable[[Features, Reference, Mesh | None], Results]] = {
    "fid": _fid,
    "is": _is,
    "kid": _kid,
    "prdc": _prdc,
    "intra_fid": _intra_fid,
    "agreement": _agreement,
}
"""Frechet distance (Heusel et al. 2017); Inception Score (Salimans et al. 2016); kernel distance (Binkowski et al. 2018);
precision and recall (Kynkaanniemi et al. 2019) with density and coverage (Naeem et al. 2020); mean over classes of the Frechet
distance within each (Miyato and Koyama 2018); share of samples that the network assigns to their class."""
