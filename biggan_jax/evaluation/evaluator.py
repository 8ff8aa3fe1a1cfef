"""Owns judging by one protocol: a network, real images, and how samples are drawn, held fixed while checkpoints come and go.

It must not know command lines, nor where scores are kept.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax.config import choose
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import features, metrics
from biggan_jax.evaluation.features import Batches, Seen
from biggan_jax.evaluation.metrics import Scores
from biggan_jax.evaluation.networks import FeatureNetwork
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
"""How the classes of samples are drawn: equally many of each; by chance; by chance, as often as in the real images."""


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """reference_words, reference_content: what the reference is of; num: samples; seed: of their latents; labels: of LABELS;
    wanted: names in metrics.SCORES; batch_size: images at a time, a multiple of the mesh's devices."""

    network: FeatureNetwork
    reference: Reference
    reference_words: str
    reference_content: str
    wanted: tuple[str, ...]
    num: int = 50_000
    seed: int = 0
    labels: str = "balanced"
    batch_size: int = 64
    mesh: Mesh | None = None

    def protocol(self, truncation: Truncation | None, statistics: str, *, live: bool = False) -> Protocol:
        """That of samples of a sampler of this truncation and these statistics, in words."""
        truncated = "none" if truncation is None else str(truncation)
        return self._protocol(self.num, self.labels, truncated, statistics, "live" if live else "ema", self.seed)

    def protocol_of_images(self, num: int, labels: str) -> Protocol:
        """That of images of whatever origin."""
        return self._protocol(num, labels, "not known", "not known", "", 0)

    def judge(self, sampler: Sampler, wanted: Sequence[str] | None = None) -> Scores:
        """Of `num` fresh samples; `wanted`: of fewer scores than the evaluator's."""
        classes = max(sampler.gan.num_classes, 1)
        rng = np.random.default_rng(self.seed)
        draw = choose(LABELS, "labels", self.labels)
        y = draw(rng, self.num, classes, self.reference.kept.labels).astype(np.int32)
        return self.judge_images(
            features.of_samples(sampler, sampler.latents(self.num, self.seed), y, self.batch_size), wanted
        )

    def judge_source(self, source: Source, num: int | None = None) -> Scores:
        """Of a source's images: `num` of them, drawn by the seed, or all."""
        numbers = np.random.default_rng(self.seed).permutation(len(source))[:num]
        return self.judge_images(features.of_source(source, numbers, self.batch_size))

    def judge_images(self, batches: Batches, wanted: Sequence[str] | None = None) -> Scores:
        """Of images that come in batches."""
        samples: Seen = features.together(features.seen(self.network, batches, self.mesh))
        # All hosts hold all features: each works on its own devices.
        own = None if self.mesh is None else make_mesh(jax.local_devices())
        return metrics.scores(samples, self.reference, self.wanted if wanted is None else wanted, own)

    def _protocol(self, samples, labels, truncation, statistics, weights, seed) -> Protocol:
        return Protocol(
            network=self.network.name,
            weights_of_network=self.network.digest,
            resizer=self.network.resizer,
            note=self.network.note,
            reference=self.reference_words,
            reference_content=self.reference_content,
            samples=samples,
            labels=labels,
            truncation=truncation,
            statistics=statistics,
            weights=weights,
            seed=seed,
            formulas=metrics.FORMULAS,
        )
