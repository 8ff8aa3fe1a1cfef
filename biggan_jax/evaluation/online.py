"""Frechet distance during training, which compares checkpoints of one run."""

from collections.abc import Callable

from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.family import Family
from biggan_jax.sampling import generate, statistics
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import TrainState

REAL_PER_SAMPLE = 10
"""Real images per sample at most."""

PASSES = 16
"""Batches of standing statistics."""


def score_in_training(
    source: Source, mesh: Mesh, *, network: str, inception: str, num: int, seed: int
) -> Callable[[Family, TrainState], float]:
    """Return a function from a state to the Frechet distance of `num` samples of the averaged G to the source's images.

    It uses fewer samples, and fewer passes of standing statistics, than a published result should. Raises UserError if the
    network lacks its weights or labels.
    """
    feature_network = open_network(network, inception=inception or None, training=source)
    batch_size = sharding.divisible(64, mesh)
    reference = reference_of(source, "training images", feature_network, mesh, REAL_PER_SAMPLE * num, batch_size)
    evaluator = Evaluator(feature_network, reference, ("fid",), num, seed, batch_size=batch_size, mesh=mesh)

    def score(gan: Family, state: TrainState) -> float:
        weights = generate.evaluation_weights(gan, state.averages[gan.sampled], state.networks[gan.sampled].spectral)
        variables = state.networks[gan.sampled].variables
        variables = statistics.variables_for_sampling(gan, weights, variables, seed, passes=PASSES)
        sampler = Sampler(gan, weights, variables, None, f"standing, {PASSES} batches")
        return float(evaluator.evaluate(sampler).overall["frechet_distance"])

    return score
