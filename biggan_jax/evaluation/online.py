"""Owns the one figure by which a run's checkpoints are compared while it goes. Must not know when, nor what follows from it."""

from collections.abc import Callable

from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import fingerprint
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import Training, open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.gan import GAN
from biggan_jax.sampling import generate, statistics
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import TrainState

REAL_FOR_EACH = 10
"""Real images, at most, for each sample."""

PASSES = 16
"""Of standing statistics."""


def score_in_training(
    source: Source, mesh: Mesh, *, network: str, inception: str, num: int, seed: int
) -> Callable[[GAN, TrainState], float]:
    """The function from a state to the Frechet distance of `num` samples of its averaged G to the source's images; lower is better.

    Fewer samples, and fewer passes for the statistics, than a score that is reported should have. Raises UserError where the
    network lacks what it needs.
    """
    digest = fingerprint.digest_of(source)
    sees = open_network(network, inception=inception or None, training=Training(source, digest))
    batch_size = sharding.divisible(64, mesh)
    reference = reference_of(source, digest, sees, mesh, count=REAL_FOR_EACH * num, batch_size=batch_size)
    judge = Evaluator(
        sees, reference, "training images", digest, ("fid",), num, seed, batch_size=batch_size, mesh=mesh
    ).judge

    def score(gan: GAN, state: TrainState) -> float:
        weights = generate.evaluation_weights(gan, state.ema_params, state.generator.stats["spectral"])
        moments = statistics.standing_statistics(gan, weights, seed, passes=PASSES)
        figures = judge(Sampler(gan, weights, moments, None, f"standing, {PASSES} batches")).overall
        return float(figures["frechet_distance"])

    return score
