"""Our scores against torch-fidelity's and prdc's, if installed, within 0.1 %."""

import importlib.util

import numpy as np
import pytest

from biggan_jax.evaluation import neighbours
from biggan_jax.evaluation.formulas import frechet_distance, inception_score, kernel_distance, moments
from tests.evaluation import oracle


@pytest.fixture(scope="module")
def sets():
    """(generated, real) float32 [2000, 256], like a network's features: rectified, low rank, of different scales.

    Generated features differ in factors and noise, so that no score is at the end of its range.
    """
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((12, 256)) * np.logspace(-1, 0, 256)

    def features(spread, noise):
        x = rng.standard_normal((2000, 12)) * spread @ factors + rng.standard_normal((2000, 256)) * noise
        return np.maximum(x + 0.3, 0).astype(np.float32)

    return features(np.linspace(0.6, 1.2, 12), 0.4), features(1.0, 0.1)


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity's metrics."""
    pytest.importorskip("torch")
    if not importlib.util.find_spec("torch_fidelity"):
        pytest.skip("torch-fidelity is not installed")
    return oracle


def test_the_frechet_distance_is_torch_fidelitys(sets, fidelity):
    found = frechet_distance(*(moments([x]) for x in sets))
    # torch-fidelity also computes moments in float64, but sums the mean in float32.
    assert found == pytest.approx(fidelity.frechet_distance(*sets), rel=1e-6)


def test_the_inception_score_is_torch_fidelitys(fidelity):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (2003, 100)) + 4 * np.eye(100)[np.sort(rng.integers(0, 100, 2003))]
    assert inception_score(logits.astype(np.float32)) == pytest.approx(
        fidelity.inception_score(logits.astype(np.float32)), rel=1e-9
    )


def test_the_kernel_distance_is_torch_fidelitys(sets, fidelity):
    found = kernel_distance(*sets, subsets=20, subset_size=500)
    # torch-fidelity sums kernel values in float32.
    assert found[:2] == pytest.approx(fidelity.kernel_distance(*sets, subsets=20, subset_size=500), rel=1e-4)


def test_precision_and_recall_are_torch_fidelitys(sets, fidelity):
    generated, real = sets
    found = neighbours.prdc(real, generated)
    assert 0.1 < found.precision < 0.9 and 0.1 < found.recall < 0.9
    # In float32 a few samples are on the surface of a ball: 1 of 2,000 is 5e-4.
    assert (found.precision, found.recall) == pytest.approx(fidelity.precision_and_recall(generated, real), rel=1e-3)


def test_precision_recall_density_and_coverage_are_prdcs(sets):
    prdc = pytest.importorskip("prdc")
    generated, real = sets
    found = neighbours.prdc(real, generated, k_precision=5, k_density=5)
    assert 0.1 < found.coverage < 0.9 and 0.1 < found.density < 0.9
    assert found._asdict() == pytest.approx(prdc.compute_prdc(real, generated, nearest_k=5), rel=1e-3)
