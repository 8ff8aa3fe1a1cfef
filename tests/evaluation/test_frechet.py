import numpy as np
import pytest
import scipy.linalg

from biggan_jax.evaluation.formulas import frechet_by_class, frechet_distance, moments
from biggan_jax.types import UserError


def normals(count, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim))


def mixed(count, dim, seed=0):
    """Float32 features with correlated dimensions and variances over four orders of magnitude."""
    mixing = normals(dim, dim, seed=99) * np.logspace(-2, 0, dim)
    return (normals(count, dim, seed) @ mixing).astype(np.float32)


def between(a, b):
    return frechet_distance(moments([a]), moments([b]))


def by_square_root(a, b):
    """Compute the distance directly by its formula."""
    cov_a, cov_b = (np.cov(x.astype(np.float64), rowvar=False) for x in (a, b))
    apart = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return apart @ apart + np.trace(cov_a + cov_b - 2 * root)


@pytest.fixture(scope="module")
def far_from_zero():
    """Float32 features whose mean is ten thousand times their deviation, with numpy's moments in float64."""
    x = (normals(600, 12) @ normals(12, 12, seed=1) + 1e4).astype(np.float32)
    x64 = x.astype(np.float64)
    return x, x64.mean(0), np.cov(x64, rowvar=False)


def assert_same(found, mean, covariance):
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    # A covariance may be zero, so the error is relative to the two standard deviations.
    deviations = np.sqrt(np.diag(covariance))
    assert np.abs((found.covariance - covariance) / np.outer(deviations, deviations)).max() < 1e-12


@pytest.mark.parametrize(
    "sizes", [[600], [1] * 600, [1, 599], [599, 1], [256, 256, 88]], ids=lambda s: f"{len(s)}x{s[0]}"
)
def test_moments_equal_two_float64_passes_for_any_batches(far_from_zero, sizes):
    x, mean, covariance = far_from_zero
    found = moments(np.split(x, np.cumsum(sizes)[:-1]))
    assert found.count == 600 and found.covariance.dtype == np.float64
    assert_same(found, mean, covariance)


def test_a_first_batch_unlike_the_others_costs_no_precision():
    x = np.concatenate([mixed(50, 12) + 20, mixed(500, 12, seed=1)]).astype(np.float32)
    x64 = x.astype(np.float64)
    assert_same(moments([x[:50], x[50:]]), x64.mean(0), np.cov(x64, rowvar=False))


def test_moments_of_one_sample_are_refused():
    with pytest.raises(UserError, match="2 or more samples on each side; one side has 1"):
        moments([normals(1, 3)])


def test_a_distance_is_the_closed_form_for_diagonal_covariances():
    # Columns made exactly uncorrelated, so that the closed form holds to rounding.
    x = np.linalg.qr(np.c_[np.ones(200), normals(200, 3)])[0][:, 1:] * np.sqrt(199)
    a, b = x * [1, 2, 3] + [1, 0, 0], x * [2, 2, 1] + [0, 0, 2]
    expected = (1 + 4) + (1 - 2) ** 2 + (3 - 1) ** 2
    assert between(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_distance_is_that_by_a_matrix_square_root():
    a, b = mixed(300, 24), mixed(200, 24, seed=1) * 1.5 + 0.1
    assert between(a, b) == pytest.approx(by_square_root(a, b), rel=1e-8)  # 2e-9 on some processors.
    assert between(b, a) == pytest.approx(between(a, b), rel=1e-9)


@pytest.mark.parametrize("counts", [(5, 5), (5, 300), (300, 5)])
def test_a_distance_holds_where_covariances_have_no_full_rank(counts):
    a, b = normals(counts[0], 20), normals(counts[1], 20, seed=1) + 0.5
    # Rounding turns zero eigenvalues of a singular matrix into 1e-16, with roots of 1e-8, also in sqrtm.
    assert between(a, b) == pytest.approx(by_square_root(a, b), rel=1e-6)


@pytest.mark.filterwarnings(
    "ignore:Matrix is singular"
)  # sqrtm warns that the matrix is singular, which is intended here.
def test_a_distance_holds_where_a_dimension_is_constant():
    a, b = mixed(100, 6), mixed(100, 6, seed=1)
    a[:, 2] = b[:, 2] = 0
    assert between(a, b) == pytest.approx(by_square_root(a, b), rel=1e-6)


@pytest.mark.parametrize("count", [5, 300])
def test_the_distance_of_equal_features_is_zero_and_never_below(count):
    x = mixed(count, 20)
    # Absolute, for a trace of 7 to 8: roots of rounded zero eigenvalues, as above.
    assert 0 <= between(x, x) < 1e-6


@pytest.mark.parametrize("count", [8, 60], ids=["fewer than dimensions", "more than dimensions"])
def test_distances_by_class_are_those_of_each_class_alone(count):
    features, references = mixed(3 * count, 20), mixed(3 * count, 20, seed=1) + 0.2
    labels, reference_labels = np.arange(3 * count) % 3, np.arange(3 * count) // count
    found = frechet_by_class(features, labels, references, reference_labels)
    assert sorted(found) == [0, 1, 2]
    for label, value in found.items():
        expected = between(features[labels == label], references[reference_labels == label])
        assert value == pytest.approx(expected, rel=1e-6)


def test_classes_of_fewer_than_two_samples_have_no_distance():
    x = normals(6, 4)
    found = frechet_by_class(x, np.array([0, 0, 1, 1, 2, 3]), x, np.array([0, 0, 1, 2, 2, 2]))
    assert list(found) == [0]
    assert found[0] == pytest.approx(0, abs=1e-12)
