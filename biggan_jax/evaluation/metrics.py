"""Metrics of samples against real images, computed from features and logits.

Only with Inception features are they called FID, IS and KID; results of other networks carry a note in their protocol.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.evaluation import formulas, neighbours
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.neighbours import prdc
from biggan_jax.evaluation.reference import KEPT, Reference
from biggan_jax.types import UserError

FORMULAS = (
    f"IS over {formulas.SPLITS} splits, KID of {formulas.SUBSETS} subsets of up to {formulas.SUBSET_SIZE}, "
    f"precision and recall by {neighbours.K_PRECISION} neighbours, density and coverage by {neighbours.K_DENSITY}, "
    f"each of up to {KEPT:,} real images"
)
"""Constants of the metrics, recorded in protocols."""


BASIC = ("fid", "is", "kid", "prdc")
"""The metrics that are defined for all images."""

NEIGHBOURS = max(neighbours.K_PRECISION, neighbours.K_DENSITY) + 1
LEAST = {"fid": (2, 2), "is": (formulas.SPLITS, 1), "kid": (2, 2), "prdc": (NEIGHBOURS, NEIGHBOURS)}
"""The least numbers of samples and of real images, by metric."""
OF_MOMENTS = ("fid",)
"""The metrics that compare means and covariances, which a file of statistics has."""
OF_IMAGES = ("kid", "prdc", "intra_fid")
"""The metrics that compare samples with single real images, not with their mean and covariance."""


class Results(NamedTuple):
    """overall: name to value. by_class: name to {class: value}. real: the images of scores named real_, in words."""

    overall: dict[str, float]
    by_class: dict[str, dict[int, float]]
    real: str = ""


def check_counts(names: Sequence[str], samples: int, real: int) -> None:
    """Raise UserError if a metric of these names needs more samples or more real images than there are."""
    for name in names:
        for needed, there, what in zip(
            LEAST.get(name, (1, 1)), (samples, real), ("samples", "real images"), strict=True
        ):
            if there < needed:
                raise UserError(
                    f"the metric {name} needs {needed} or more {what}, not {there}; choose others by --scores"
                )


def compute(samples: Features, reference: Reference, names: Sequence[str], mesh: Mesh | None = None) -> Results:
    """Compute the metrics of these names in METRICS. Raises UserError if one needs more images."""
    results = Results({}, {})
    for name in names:
        found = choose(METRICS, "the metric", name)(samples, reference, mesh)
        results.overall.update(found.overall)
        results.by_class.update(found.by_class)
    return results


def _overall(names: str, values: Sequence[float]) -> Results:
    return Results(dict(zip(names.split(), values, strict=True)), {})


def _intra_fid(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    kept = reference.kept
    distances = formulas.frechet_by_class(samples.features, samples.labels, kept.features, kept.labels)
    if not distances:
        raise UserError("intra_fid needs two or more samples, and as many real images, of at least one class")
    mean = float(np.mean(list(distances.values())))
    return Results({"frechet_distance_in_class": mean}, {"frechet_distance_in_class": distances})


def _agreement(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    agrees = samples.logits.argmax(1) == samples.labels
    by_class = {int(c): float(agrees[samples.labels == c].mean()) for c in np.unique(samples.labels)}
    return Results({"class_agreement": float(agrees.mean())}, {"class_agreement": by_class})


METRICS: dict[str, Callable[[Features, Reference, Mesh | None], Results]] = {
    "fid": lambda fake, real, _: _overall(
        "frechet_distance", [formulas.frechet_distance(formulas.moments([fake.features]), real.moments)]
    ),
    "is": lambda fake, _, __: _overall("inception_score inception_score_std", formulas.inception_score(fake.logits)),
    "kid": lambda fake, real, _: _overall(
        "kernel_distance kernel_distance_std kernel_distance_subset",
        formulas.kernel_distance(fake.features, real.kept.features),
    ),
    "prdc": lambda fake, real, mesh: Results(prdc(real.kept.features, fake.features, mesh=mesh)._asdict(), {}),
    "intra_fid": _intra_fid,
    "agreement": _agreement,
}
"""Frechet distance (Heusel et al. 2017); Inception Score (Salimans et al. 2016); kernel distance (Binkowski et al. 2018);
precision and recall (Kynkaanniemi et al. 2019) with density and coverage (Naeem et al. 2020); mean over classes of the Frechet
distance within each (Miyato and Koyama 2018); share of samples that the network assigns to their class."""
