"""Metrics of samples against real images, computed from features and logits.

Only with Inception features are they called FID, IS and KID; results of other networks carry a note in their protocol.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.evaluation import accuracy, captions, extrapolation, formulas, kernels, memorisation, neighbours
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
WITHOUT_CLASSES = tuple(name for name in BASIC if name != "is")
"""Those of them that need no classes of the network."""

NEIGHBOURS = max(neighbours.K_PRECISION, neighbours.K_DENSITY) + 1
LEAST = {
    **dict.fromkeys(("fid", "kid", "fid_interval", "kid_interval"), (2, 2)),
    "is": (formulas.SPLITS, 1),
    "prdc": (NEIGHBOURS, NEIGHBOURS),
    "fd_infinity": (2 * extrapolation.POINTS, 2),
    "authenticity": (1, memorisation.K_RARITY + 1),
}
"""The least numbers of samples and of real images, by metric."""
OF_MOMENTS = ("fid", "fd_infinity", "fid_interval")
"""The metrics that compare means and covariances, which a file of statistics has."""
OF_IMAGES = ("kid", "kid_interval", "cmmd", "prdc", "authenticity", "intra_fid", "cas")
"""The metrics that compare samples with single real images, not with their mean and covariance."""
OF_CLASSES = ("intra_fid", "cas")
"""The metrics that need classes of both samples and real images."""


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
    if samples.labels.ndim == 2:
        return Results({"caption_agreement": captions.agreement(*samples)}, {})
    agrees = samples.logits.argmax(1) == samples.labels
    by_class = {int(c): float(agrees[samples.labels == c].mean()) for c in np.unique(samples.labels)}
    return Results({"class_agreement": float(agrees.mean())}, {"class_agreement": by_class})


def _cas(samples: Features, reference: Reference, mesh: Mesh | None) -> Results:
    kept = reference.kept
    of_samples = accuracy.fit(samples.features, samples.labels)
    by_class = accuracy.accuracy_by_class(of_samples, kept.features, kept.labels)
    right = (of_samples(kept.features) == kept.labels).mean()
    of_real = accuracy.fit(kept.features, kept.labels)
    reverse = (of_real(samples.features) == samples.labels).mean()
    found = {"classification_accuracy": float(right), "classification_accuracy_reverse": float(reverse)}
    return Results(found, {"classification_accuracy": by_class})


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
    "fd_infinity": lambda fake, real, _: _overall(
        "frechet_distance_infinity", [extrapolation.frechet_infinity(fake.features, real.moments)]
    ),
    "fid_interval": lambda fake, real, _: _overall(
        "frechet_distance_low frechet_distance_high", extrapolation.frechet_interval(fake.features, real.moments)
    ),
    "kid_interval": lambda fake, real, _: _overall(
        "kernel_distance_low kernel_distance_high", kernels.kernel_interval(fake.features, real.kept.features)
    ),
    "cmmd": lambda fake, real, _: _overall("gaussian_mmd", [kernels.cmmd(fake.features, real.kept.features)]),
    "authenticity": lambda fake, real, mesh: Results(
        memorisation.nearness(real.kept.features, fake.features, mesh=mesh)._asdict(), {}
    ),
    "cas": _cas,
}
"""Frechet distance (Heusel et al. 2017); Inception Score (Salimans et al. 2016); kernel distance (Binkowski et al. 2018);
precision and recall (Kynkaanniemi et al. 2019) with density and coverage (Naeem et al. 2020); mean over classes of the Frechet
distance within each (Miyato and Koyama 2018); share of samples that the network assigns to their class or caption; Frechet distance by
extrapolation (Chong and Forsyth 2020); 95 % intervals; CMMD (Jayasumana et al. 2024); authenticity (Alaa et al. 2022) and rarity
(Han et al. 2022); classification accuracy scores (Ravuri and Vinyals 2019), with a linear classifier of the features."""

OF_PIXELS = ("lpips",)
"""The metrics of images instead of features: LPIPS diversity (Zhang et al. 2018), which `Evaluator` computes."""

NAMES = dict.fromkeys((*METRICS, *OF_PIXELS))
"""The names of all metrics."""
