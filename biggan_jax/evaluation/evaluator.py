"""Evaluate samples by a fixed protocol: one network, one set of real images, one way of drawing."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import features
from biggan_jax.evaluation.features import Batches
from biggan_jax.evaluation.metrics import FORMULAS, Results, compute
from biggan_jax.evaluation.networks import GREY_NOTE, FeatureNetwork
from biggan_jax.evaluation.protocol import Protocol
from biggan_jax.evaluation.reference import Reference
from biggan_jax.latents import Truncation
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sharding import make_mesh

LABELS: dict[str, Callable[[np.random.Generator, int, int, np.ndarray], np.ndarray]] = {
    "balanced": lambda rng, num, classes, real: np.arange(num) % classes,
    "uniform": lambda rng, num, classes, real: rng.integers(0, classes, num),
    "data": lambda rng, num, classes, real: rng.choice(real, num),
}
"""How the classes of samples are drawn: equally many of each; uniformly at random; with the frequencies of the real images."""


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Everything that stays the same while checkpoints change.

    metrics: names in metrics.METRICS. num: samples. seed: of their latents. labels: a name in LABELS. batch_size: a multiple
    of the mesh's devices. channels: of the images; grey ones (1) are repeated to RGB for the network.
    """

    network: FeatureNetwork
    reference: Reference
    metrics: tuple[str, ...]
    num: int = 50_000
    seed: int = 0
    labels: str = "balanced"
    batch_size: int = 64
    mesh: Mesh | None = None
    channels: int = 3

    def protocol(self, truncation: Truncation | None, statistics: str, *, live: bool = False) -> Protocol:
        """Return the protocol of samples drawn with this truncation and these statistics."""
        truncated = "none" if truncation is None else str(truncation)
        return self._protocol(self.num, self.labels, truncated, statistics, "live" if live else "ema", self.seed)

    def protocol_of_images(self, num: int, labels: str) -> Protocol:
        """Return the protocol of images of unknown origin."""
        return self._protocol(num, labels, "not known", "not known", "", 0)

    def evaluate(self, sampler: Sampler, metrics: Sequence[str] | None = None) -> Results:
        """Evaluate `num` fresh samples. metrics: default: those of the evaluator."""
        classes = max(sampler.gan.num_classes, 1)
        rng = np.random.default_rng(self.seed)
        draw = choose(LABELS, "labels", self.labels)
        y = draw(rng, self.num, classes, self.reference.kept.labels).astype(np.int32)
        z = sampler.latents(self.num, self.seed)
        return self.evaluate_images(features.of_samples(sampler, z, y, self.batch_size), metrics)

    def evaluate_source(self, source: Source, num: int | None = None) -> Results:
        """Evaluate `num` of a source's images, drawn at random by the seed, or all."""
        numbers = np.random.default_rng(self.seed).permutation(len(source))[:num]
        return self.evaluate_images(features.of_source(source, numbers, self.batch_size))

    def evaluate_images(self, batches: Batches, metrics: Sequence[str] | None = None) -> Results:
        """Evaluate images given in batches."""
        samples = features.concatenate(features.extract(self.network, batches, self.mesh))
        # Every host has all features, and computes the metrics on its own devices.
        local = None if self.mesh is None else make_mesh(jax.local_devices())
        return compute(samples, self.reference, self.metrics if metrics is None else metrics, local)

    def _protocol(self, samples, labels, truncation, statistics, weights, seed) -> Protocol:
        return Protocol(
            network=self.network.name,
            weights_of_network=self.network.digest,
            resizer=self.network.resizer + (GREY_NOTE if self.channels == 1 else ""),
            note=self.network.note,
            reference=self.reference.name,
            reference_content=self.reference.content,
            samples=samples,
            labels=labels,
            truncation=truncation,
            statistics=statistics,
            weights=weights,
            seed=seed,
            formulas=FORMULAS,
        )
