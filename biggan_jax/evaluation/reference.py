"""Statistics and features of real images, computed once per data set and network."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jax.sharding import Mesh

from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import features, formulas
from biggan_jax.evaluation.cache import cached, hash_of_arrays, hash_of_source
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.networks import FeatureNetwork

KEPT = 50_000
"""Real images, evenly spread, whose features are kept for metrics that compare image with image."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """name, content: the images in words, and their hash. moments: of all features. kept: up to KEPT of these."""

    name: str
    content: str
    moments: formulas.Moments
    kept: Features

    @property
    def inception_score(self) -> float:
        """The Inception Score of the real images, marked on the truncation curve; NaN for fewer images than splits."""
        logits = self.kept.logits
        return formulas.inception_score(logits)[0] if len(logits) >= formulas.SPLITS else float("nan")


def reference_of(
    source: Source, name: str, network: FeatureNetwork, mesh: Mesh | None = None, count: int = 0, batch_size: int = 64
) -> Reference:
    """Compute the reference from `count` images, evenly spread (0: from all), or read it from the cache."""
    content, count = hash_of_source(source), min(count or len(source), len(source))
    numbers = _spread(len(source), count)
    keep = np.zeros(count, bool)
    keep[_spread(count, min(count, KEPT))] = True

    def compute() -> dict[str, np.ndarray]:
        kept: list[Features] = []

        def batches() -> Iterator[np.ndarray]:
            parts = features.extract(network, features.of_source(source, numbers, batch_size, network), mesh)
            for i, part in enumerate(parts):
                chosen = keep[i * batch_size :][: len(part.labels)]
                kept.append(Features(*(array[chosen] for array in part)))
                yield part.features

        _, mean, covariance = formulas.moments(batches())
        return {"mean": mean, "covariance": covariance, **features.concatenate(kept)._asdict()}

    # Increase the recipe's number whenever networks, resizers or the kept features change.
    made_of = f"recipe 1: {content} {count} by {network.name} {network.digest} after {network.resizer}, {KEPT} kept"
    if length := getattr(source, "caption_length", 0):
        made_of += f", captions of {length} bytes"
    arrays = cached("reference", made_of, compute)
    kept = Features(*(arrays[name] for name in Features._fields))
    return Reference(name, content, formulas.Moments(count, arrays["mean"], arrays["covariance"]), kept)


def of_statistics(statistics: formulas.Moments, name: str, images: Reference | None) -> Reference:
    """Return a reference with these moments, and the kept features of `images`, none if it is None."""
    arrays = {"mu": statistics.mean, "sigma": statistics.covariance}
    if images is not None:
        arrays["images"] = np.frombuffer(images.content.encode(), np.uint8)
    kept = images.kept if images is not None else Features(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, np.int32))
    return Reference(name, hash_of_arrays(arrays), statistics, kept)


def _spread(total: int, count: int) -> np.ndarray:
    return np.linspace(0, total - 1, count).round().astype(np.int64)
