"""Owns what scores need to know of real images, worked out once for each data set and network. Must not know samples."""

import dataclasses

import numpy as np
from jax.sharding import Mesh

from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import features, frechet
from biggan_jax.evaluation.cache import cached
from biggan_jax.evaluation.features import Seen
from biggan_jax.evaluation.inception_score import SPLITS, inception_score
from biggan_jax.evaluation.networks import FeatureNetwork

KEPT = 50_000
"""Real images, evenly spread over all, of which features are kept, for scores that compare image with image."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """moments: of the features of all images; kept: what was seen of up to KEPT of them."""

    moments: frechet.Moments
    kept: Seen

    @property
    def inception_score(self) -> float:
        """That of the real images themselves, at which the paper reads the truncation curve; nan for fewer than the splits."""
        return inception_score(self.kept.logits)[0] if len(self.kept.logits) >= SPLITS else float("nan")


def reference_of(
    source: Source,
    content: str,
    network: FeatureNetwork,
    mesh: Mesh | None = None,
    *,
    count: int | None = None,
    batch_size: int = 64,
) -> Reference:
    """Of `count` images, evenly spread over the source, or of all; from the cache where it is known. content: see content.digest_of."""
    count = min(count or len(source), len(source))
    numbers = _spread(len(source), count)
    keep = np.zeros(count, bool)
    keep[_spread(count, min(count, KEPT))] = True

    def work_out() -> dict[str, np.ndarray]:
        moments, kept, start = frechet.Accumulator(), [], 0
        for part in features.seen(network, features.of_source(source, numbers, batch_size), mesh):
            moments.add(part.features)
            chosen = keep[start : start + len(part.labels)]
            kept.append(Seen(*(array[chosen] for array in part)))
            start += len(part.labels)
        _, mean, covariance = moments.moments()
        return {"mean": mean, "covariance": covariance, **features.together(kept)._asdict()}

    # Another number whenever a network, a resizer or what is kept of them changes.
    made_of = f"recipe 1: {content} {count} by {network.name} {network.digest} after {network.resizer}, {KEPT} kept"
    arrays = cached("reference", made_of, work_out)
    kept = Seen(*(arrays[name] for name in Seen._fields))
    return Reference(frechet.Moments(count, arrays["mean"], arrays["covariance"]), kept)


def _spread(total: int, count: int) -> np.ndarray:
    return np.linspace(0, total - 1, count).round().astype(np.int64)
