"""Evaluate samples by a fixed protocol: one network, one set of real images, one way of drawing."""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.config import choose
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import baseline, captions, conditions, diversity, features
from biggan_jax.evaluation.baseline import Baseline
from biggan_jax.evaluation.conditions import classes_of
from biggan_jax.evaluation.features import Batches
from biggan_jax.evaluation.lpips import Lpips
from biggan_jax.evaluation.metrics import FORMULAS, METRICS, OF_CLASSES, OF_PIXELS, Results, check_counts, compute
from biggan_jax.evaluation.networks import (
    FITTED,
    GREY_NOTE,
    WITHOUT_CLASSES,
    FeatureNetwork,
    check_network,
    open_network,
)
from biggan_jax.evaluation.reference import KEPT, Reference, reference_of
from biggan_jax.evaluation.results import Protocol
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.sampling import generate
from biggan_jax.sampling.labels import draw_labels
from biggan_jax.sampling.sampler import NotFiniteError, Sampler
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

REAL_PER_SAMPLE, PASSES = 10, 16  # In training: real images per sample at most; batches of standing statistics.


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Everything that stays the same while checkpoints change.

    metrics: names in metrics.METRICS. num: samples. seed: of their latents. labels: a name in LABELINGS; of a model of texts or
    real numbers, whose samples have those of the reference, words for protocols. batch_size: a multiple of the mesh's devices.
    channels: of the images; grey ones (1) are repeated to RGB for the network. bits: of the real images; 16 are rounded to 8.
    baseline: makes or returns the real images that are scored beside samples. lpips: opens the network of the metric lpips.
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
    bits: int = 8
    baseline: Callable[[], Baseline] | None = None
    lpips: Callable[[], Lpips] | None = None

    def protocol(self, truncation: Truncation | None, statistics: str, *, live: bool = False) -> Protocol:
        """Return the protocol of samples drawn with this truncation and these statistics."""
        drawn = str(truncation or "none"), statistics, "live" if live else "ema", self.seed
        return self.protocol_of_images(self.num, self.labels, *drawn)

    def protocol_of_images(
        self, samples: int, labels: str, truncation="not known", statistics="not known", weights="", seed=0
    ) -> Protocol:
        """Return the protocol of images, by default of unknown origin. The arguments are fields of the protocol."""
        resizer = self.network.resizer + (GREY_NOTE if self.channels == 1 else "")
        resizer += ", 16 bits rounded to 8" if self.bits == 16 else ""
        network = self.network.name, self.network.digest, resizer, self.network.note
        real = self.reference.name, self.reference.content
        return Protocol(*network, *real, samples, labels, truncation, statistics, weights, seed, FORMULAS)

    def evaluate(self, sampler: Sampler, metrics: Sequence[str] | None = None) -> Results:
        """Evaluate `num` fresh samples. metrics: names; by default the evaluator's."""
        real = self.reference.kept.labels
        if sampler.gan.condition.of_data:
            y = conditions.of_real(real, self.num, self.seed)
            if "agreement" in (self.metrics if metrics is None else metrics):
                captions.check(y)
        else:
            y = draw_labels(self.labels, self.num, sampler.gan.num_classes, self.seed, real)
        z = sampler.latents(self.num, self.seed)
        make = lambda i, size, network: features.of_samples(sampler, z[i], y[i], size, network)
        return self._evaluate(make, y, metrics)

    def evaluate_source(self, source: Source, num: int | None = None) -> Results:
        """Evaluate `num` of a source's images, drawn at random by the seed, or all."""
        numbers = np.random.default_rng(self.seed).permutation(len(source))[:num]
        return self.evaluate_set(source, numbers)

    def evaluate_set(
        self, source: Source, numbers: np.ndarray | None = None, metrics: Sequence[str] | None = None
    ) -> Results:
        """Evaluate a source's images of these numbers, by default all in order."""
        numbers = np.arange(len(source)) if numbers is None else numbers
        labels = np.zeros(len(numbers), np.int32)
        if "lpips" in (self.metrics if metrics is None else metrics) and classes_of(source):
            labels = source.all_labels[numbers]
        make = lambda i, size, network: features.of_source(source, numbers[i], size, network)
        return self._evaluate(make, labels, metrics)

    def _evaluate(
        self,
        make: Callable[[np.ndarray, int, FeatureNetwork | None], Batches],
        labels: np.ndarray,
        metrics: Sequence[str] | None,
    ) -> Results:
        """Evaluate images. make: returns those of these numbers in batches of this size. labels: of all of them."""
        wanted = self.metrics if metrics is None else metrics
        of_features = [name for name in wanted if name not in OF_PIXELS]
        results = Results({}, {})
        if of_features:
            batches = make(np.arange(len(labels)), self.batch_size, self.network)
            results = self.evaluate_images(batches, of_features)
        if "lpips" in wanted and self.lpips is not None:
            batches = make(diversity.pairs(labels, seed=self.seed), 2 * self.batch_size, None)
            found = diversity.diversity(self.lpips(), batches, self.mesh)
            results = results._replace(overall=results.overall | {"lpips_diversity": found})
        return results

    def evaluate_images(self, batches: Batches, metrics: Sequence[str] | None = None) -> Results:
        """Evaluate images given in batches, by metrics of features."""
        samples = features.concatenate(features.extract(self.network, batches, self.mesh))
        return compute(samples, self.reference, self.metrics if metrics is None else metrics, self._local_mesh)

    def beside_real(self, results: Results, metrics: Sequence[str]) -> Results:
        """Add the scores of real images to those of samples, as real_NAME, and the accuracy of the network on them."""
        if self.baseline is None:
            return results
        real = self.baseline()
        scores = real.scores(metrics, self._local_mesh)
        return results._replace(overall=results.overall | scores, real=real.name if scores else "")

    @property
    def _local_mesh(self) -> Mesh | None:
        """This host's devices: every host has all features, and computes the metrics on its own."""
        return None if self.mesh is None else sharding.make_mesh(jax.local_devices())


def also_scored(text: str) -> tuple[str, ...]:
    """Return the metrics that score.also names, such as kid,prdc. Raises UserError for one that is unknown or needs pixels."""
    names = tuple(name for name in text.replace(" ", "").split(",") if name)
    for name in names:
        choose(METRICS, "score.also", name)
    return tuple(name for name in dict.fromkeys(names) if name != "fid")


def check_score(
    network: str, inception: str, source: Source, image_shape: tuple[int, ...], also: str = "", num: int = KEPT
) -> None:
    """Raise UserError if `score_in_training` cannot work for want of a network, its weights, labels or pictures."""
    names = also_scored(also)
    check_counts(names, num, len(source))
    if "is" in names and network in WITHOUT_CLASSES:
        raise UserError(f"score.also=is needs a network with classes, which {network} has not")
    if (needing := [name for name in names if name in OF_CLASSES]) and not classes_of(source):
        raise UserError(f"score.also={needing[0]} needs classes, but the data have none")
    if "agreement" in names and network not in FITTED:
        raise UserError("score.also=agreement needs score.network=classifier, or captions for data with captions")
    check_network(network, inception=inception or None, training=source)
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        what = f"score.every needs grey or RGB images, but this model's samples are {list(image_shape)}"
        raise UserError(f"{what}; set it to 0")


@dataclasses.dataclass(frozen=True)
class TrainingScore:
    """The score of a state: the Frechet distance of samples to the training images.

    real: what stands beside it, by name: score_of_real, the distance of as many real images at most, and score_accuracy, that
    of the network on images that it was not fitted to. Either may be missing. images: the real images, in words. beside: real,
    and, after each score, those of score.also, as score_NAME.
    """

    function: Callable[[Family, TrainState], float]
    real: dict[str, float]
    images: str
    beside: dict[str, float]

    def __call__(self, gan: Family, state: TrainState) -> float:
        return self.function(gan, state)


def score_in_training(
    source: Source,
    mesh: Mesh,
    *,
    network: str,
    inception: str,
    num: int,
    seed: int,
    held_out: Source | None = None,
    also: str = "",
) -> TrainingScore:
    """Return a function from a state to the Frechet distance of `num` samples to the source's images.

    Samples are of G's averaged weights, or of its live ones if no average is kept.
    It compares checkpoints of one run: it uses fewer samples, and fewer passes of standing statistics if G has any, than a
    published result should. held_out: real images to score beside samples; without, every second one of the source's.
    also: other metrics, as in score.also. Raises UserError if the network lacks its weights or labels.
    """
    feature_network = open_network(network, inception=inception or None, training=source)
    batch_size = sharding.divisible(64, mesh)
    reference = reference_of(source, "training images", feature_network, mesh, REAL_PER_SAMPLE * num, batch_size)
    beside = baseline.of_halves(reference)
    if held_out is not None:
        kept = reference_of(held_out, "", feature_network, mesh, min(num, KEPT, len(held_out)), batch_size).kept
        labelled = kept if feature_network.fitted else None
        beside = Baseline(f"{len(kept.labels):,} held-out images", kept, reference, labelled)
    scores = beside.scores(["fid"])
    names = {"frechet_distance": "score_of_real"} | dict.fromkeys(baseline.ACCURACIES, "score_accuracy")
    found = {name: scores[baseline.PREFIX + of] for of, name in names.items() if baseline.PREFIX + of in scores}
    metrics = ("fid", *also_scored(also))
    evaluator = Evaluator(feature_network, reference, metrics, num, seed, batch_size=batch_size, mesh=mesh)
    if "agreement" in metrics and feature_network.texts is not None:
        captions.check(conditions.of_real(reference.kept.labels, num, seed))
    recorded = dict(found)

    def score(gan: Family, state: TrainState) -> float:
        network = state.networks[gan.sampled]
        weights = generate.evaluation_weights(gan, state.averages.get(gan.sampled, network.params), network.spectral)
        variables = gan.with_lent(network.variables, state.networks)
        variables = generate.variables_for_sampling(gan, weights, variables, seed, passes=PASSES)
        # Results of training have no protocol, which would describe the statistics.
        sampler = Sampler(gan, weights, variables, None, "")
        for name in recorded.keys() - found.keys():
            del recorded[name]
        try:
            overall = evaluator.evaluate(sampler).overall
            recorded.update({f"score_{name}": float(overall[name]) for name in overall if name != "frechet_distance"})
            return float(overall["frechet_distance"])
        except NotFiniteError as error:  # The collapse monitor decides whether to stop.
            logger.warning("no score: %s", error)
            return math.nan

    return TrainingScore(score, found, beside.name, recorded)
